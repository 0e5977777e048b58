# SPDX-License-Identifier: Apache-2.0
"""A small byte-level tokenizer for tiny models: any instruction, common words in one token."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from sqil_ros.errors import CheckpointError
from sqil_ros.policy.openvla.processor import prompt_text

BOS, EOS = '<s>', '</s>'
TEXT_TOKENS = 512
# Words an operator of the toy sink may use; merges learned here keep prompts short.
_WORDS = """put the eggplant into the pot. put the cup into the plate. stack the purple cup on the
green cup. lift the eggplant. pick up place move push pull open close take it to from in on onto
under left right front back of and then yellow purple green red blue grey plate cup pot sink
counter spoon sponge carton bowl towel stove drawer object gripper up down please"""


def train_tokenizer() -> Tokenizer:
    """The same tokenizer every time: byte-level BPE with ``TEXT_TOKENS`` entries at most."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TEXT_TOKENS,
        min_frequency=1,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sentences = _WORDS.replace('\n', ' ').split('.')
    tokenizer.train_from_iterator([prompt_text(s) for s in sentences] * 4, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f'{BOS} $A', special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def space_token(tokenizer: Tokenizer) -> int:
    """Id of the bare space that ends a prompt."""
    # Byte-level tokenizers write a space as one letter, Llama's as another.
    found = [tokenizer.token_to_id(letter) for letter in ('\u0120', '\u2581')]
    token = next((each for each in found if each is not None), None)
    if token is None:
        raise CheckpointError('The tokenizer has no token for a bare space; fetch it again.')
    return int(token)
