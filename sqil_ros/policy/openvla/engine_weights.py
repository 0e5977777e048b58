# SPDX-License-Identifier: Apache-2.0
"""The modules of an OpenVLA as the engine's structures; packed weights are shared, not copied."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sqil_ros.engine.structures import (
    ActionHead,
    Decoder,
    DecoderLayer,
    Encoder,
    EncoderLayer,
    Linear,
    Norm,
    Vision,
    array_of,
)
from sqil_ros.engine.tiles import (
    InputCodes,
    Weights,
    chain_structures,
    dense_weights,
    linear_structure,
)
from sqil_ros.errors import EngineError
from sqil_ros.policy.openvla.action_head import Residual
from sqil_ros.policy.openvla.model import OpenVLA
from sqil_ros.policy.openvla.words import Words
from sqil_ros.quant.cpu import Cpu, input_codes, layer_weights
from sqil_ros.quant.linear import PackedLinear
from sqil_ros.quant.mixed_linear import MixedLinear
from sqil_ros.quant.primitives import Steps


class EngineWeights:
    """Structures, and everything that they borrow.

    Attributes:
        vision: encoders and projectors.
        words: what a prompt is fed as.
        own_bytes: memory of weights that the modules do not hold in this layout.
        released: how many weights the modules have let go.
    """

    def __init__(self, model: OpenVLA, take: bool = False) -> None:
        """Describe a model; it must stay as it is for as long as it is computed with.

        Args:
            model: that :func:`check` does not refuse.
            take: let the model go of every weight as soon as it is copied, so that nothing is
                held twice; torch cannot compute the model any more.
        """
        self._model, self._take = model, take
        self._kept: list[Any] = [model]
        self.own_bytes = self.released = 0
        table = model.get_input_embeddings().weight
        self._dtype = table.dtype
        self.vision = self._vision()
        self._layers = self._decoder_layers()
        self.words = Words(table)
        # As torch does, the engine keeps keys and values in the type of the model.
        self._bits = 16 if self._dtype == torch.bfloat16 else 32
        self._bin_words = self._stop_word = None
        self._norm = self._norm_of(model.language_model.model.norm)
        self._head, self._action_head = Linear(), None
        if model.action_head is None:
            self._head = self._bins()
            self._bin_words = self._pointer(self.words.rows(self._bin_tokens()))
        else:
            self._action_head = self._actions()
            stop = torch.tensor([model.config.stop_token])
            self._stop_word = self._pointer(self.words.rows(stop))

    def decoder(self, capacity: int) -> Decoder:
        """The decoder with room for so many tokens."""
        model, config = self._model, self._model.language_model.config
        like = torch.empty(0, dtype=torch.float32)
        with torch.inference_mode():
            turns = model.language_model.model.rotary_emb(like, torch.arange(capacity)[None])
        half = config.head_dim // 2
        cosine, sine = (self._pointer(turn[0, :, :half]) for turn in turns)
        return Decoder(
            layers=self._layers,
            bin_words=self._bin_words,
            stop_word=self._stop_word,
            cosine=cosine,
            sine=sine,
            norm=self._norm,
            head=self._head,
            action_head=self._action_head,
            layer_count=len(self._layers),
            width=config.hidden_size,
            heads=config.num_attention_heads,
            key_heads=config.num_key_value_heads,
            head_width=config.head_dim,
            capacity=capacity,
            answers=model.config.answers,
            first_token=model.config.text_vocab_size - 1,
            median=int(model.config.bin_choice == 'median'),
            memory_bits=self._bits,
            epsilon=config.rms_norm_eps,
        )

    def _bins(self) -> Linear:
        head = self._model.language_model.lm_head
        return self._copy(head, head.weight[self._bin_tokens()], None)

    def _bin_tokens(self) -> Tensor:
        """Bin d - 1 belongs to token V - d, see OpenVLA.action_logits."""
        config = self._model.config
        top = config.text_vocab_size
        return torch.arange(top - config.n_action_bins, top).flip(0)

    def _actions(self) -> Any:
        head = self._model.action_head
        assert head is not None
        described = ActionHead(
            before=self._norm_of(head.norm1),
            into=self._linear(head.fc1),
            after=self._norm_of(head.norm2),
            out=self._linear(head.fc2),
            epsilon=head.norm1.eps,
        )
        for index, block in enumerate(head.blocks):
            assert isinstance(block, Residual)
            described.block_norm[index] = self._norm_of(block.norm)
            described.block[index] = self._linear(block.linear)
        return self._array(ActionHead, [described])

    def _decoder_layers(self) -> Any:
        layers = [
            DecoderLayer(
                before=self._norm_of(layer.input_layernorm),
                between=self._norm_of(layer.post_attention_layernorm),
                query=self._linear(layer.self_attn.q_proj),
                key=self._linear(layer.self_attn.k_proj),
                value=self._linear(layer.self_attn.v_proj),
                output=self._linear(layer.self_attn.o_proj),
                gate=self._linear(layer.mlp.gate_proj),
                up=self._linear(layer.mlp.up_proj),
                down=self._linear(layer.mlp.down_proj),
            )
            for layer in self._model.language_model.model.layers
        ]
        return self._array(DecoderLayer, layers)

    def _vision(self) -> Vision:
        model, config = self._model, self._model.config
        projector, proprio = model.projector, model.proprio_projector
        vision = Vision(
            cameras=config.n_images,
            image_side=config.image_size,
            patch_side=model.dino.config.patch_size,
            merge=config.patch_merge,
        )
        vision.encoders[0], vision.encoders[1] = self._dino(), self._siglip()
        for index, layer in enumerate((projector.fc1, projector.fc2, projector.fc3)):
            vision.projector[index] = self._linear(layer)
        if proprio is not None:
            for index, layer in enumerate((proprio.fc1, proprio.fc2)):
                vision.proprio[index] = self._linear(layer)
        return vision

    def _dino(self) -> Encoder:
        dino = self._model.dino
        parts, config = dino.embeddings, dino.config
        layers = [
            EncoderLayer(
                before=self._norm_of(layer.norm1),
                between=self._norm_of(layer.norm2),
                query=self._linear(layer.attention.q_proj),
                key=self._linear(layer.attention.k_proj),
                value=self._linear(layer.attention.v_proj),
                output=self._linear(layer.attention.o_proj),
                up=self._linear(layer.mlp.fc1),
                down=self._linear(layer.mlp.fc2),
                attention_gain=self._pointer(layer.layer_scale1.lambda1),
                mlp_gain=self._pointer(layer.layer_scale2.lambda1),
            )
            for layer in dino.encoder.layer
        ]
        class_position, positions = parts.position_embeddings[0].split(
            [1, len(parts.position_embeddings[0]) - 1]
        )
        # Registers have no position.
        prefix = torch.cat(
            [parts.cls_token[0].float() + class_position.float(), parts.register_tokens[0].float()]
        )
        return Encoder(
            layers=self._array(EncoderLayer, layers),
            patch=self._patch(parts.patch_embeddings.projection),
            prefix=self._pointer(prefix),
            positions=self._pointer(positions),
            layer_count=len(layers),
            width=config.hidden_size,
            heads=config.num_attention_heads,
            prefix_count=len(prefix),
            first_channel=0,
            gelu_tanh=0,
            epsilon=config.layer_norm_eps,
        )

    def _siglip(self) -> Encoder:
        siglip = self._model.siglip
        parts, config = siglip.embeddings, siglip.config
        layers = [
            EncoderLayer(
                before=self._norm_of(layer.layer_norm1),
                between=self._norm_of(layer.layer_norm2),
                query=self._linear(layer.self_attn.q_proj),
                key=self._linear(layer.self_attn.k_proj),
                value=self._linear(layer.self_attn.v_proj),
                output=self._linear(layer.self_attn.out_proj),
                up=self._linear(layer.mlp.fc1),
                down=self._linear(layer.mlp.fc2),
            )
            for layer in siglip.encoder.layers
        ]
        return Encoder(
            layers=self._array(EncoderLayer, layers),
            patch=self._patch(parts.patch_embedding),
            positions=self._pointer(parts.position_embedding.weight),
            layer_count=len(layers),
            width=config.hidden_size,
            heads=config.num_attention_heads,
            prefix_count=0,
            first_channel=3,
            gelu_tanh=int(config.hidden_act != 'gelu'),
            epsilon=config.layer_norm_eps,
        )

    def _linear(self, layer: nn.Module) -> Linear:
        if isinstance(layer, MixedLinear):
            return self._mixed(layer)
        if not isinstance(layer, PackedLinear):
            assert isinstance(layer, nn.Linear)
            return self._copy(layer, layer.weight, layer.bias)
        cpu, weights = Cpu(), layer.tiles
        if weights is None and cpu.refusal(layer.shape, torch.device('cpu')):
            weights = dense_weights(layer.weight, layer.bias)
        elif weights is None:
            steps, storage = (
                Steps(layer.scale, layer.zero),
                cpu.prepare(layer.portable, layer.shape),
            )
            weights = layer_weights(storage, steps, layer.bias, layer.shape)
        own = weights.tiles is not layer.packed
        return self._structure(weights, own, input_codes(layer.inputs, self._dtype))

    def _mixed(self, layer: MixedLinear) -> Linear:
        chain = layer.chain()
        if chain is None:
            weights = dense_weights(layer.weight, layer.bias)
            return self._structure(weights, True, input_codes(layer.inputs, self._dtype))
        self._kept.append(chain)
        bands = chain_structures(chain, input_codes(layer.inputs, self._dtype))
        self._kept.append(bands)
        return bands[0]

    def _patch(self, convolution: nn.Conv2d) -> Linear:
        """A convolution whose stride is its size, as a linear layer on squares of pixels."""
        return self._copy(convolution, convolution.weight.flatten(1), convolution.bias)

    def _copy(self, module: nn.Module, weight: Tensor, bias: Tensor | None) -> Linear:
        """A module's weight in the engine's layout."""
        weights = dense_weights(weight, bias)
        structure = self._structure(weights, True, input_codes(None, self._dtype))
        if self._take:
            self.released += module.get_parameter('weight').numel()
            # Every operator refuses a weight of no size; one on the meta device is not refused.
            module.weight = nn.Parameter(torch.empty(0), requires_grad=False)
        return structure

    def _structure(self, weights: Weights, own: bool, inputs: InputCodes) -> Linear:
        self._kept.append(weights)
        if own:
            self.own_bytes += weights.tiles.numel() * weights.tiles.element_size()
        return linear_structure(weights, inputs)

    def _norm_of(self, norm: Any) -> Norm:
        bias = getattr(norm, 'bias', None)
        return Norm(self._pointer(norm.weight), None if bias is None else self._pointer(bias))

    def _pointer(self, tensor: Tensor) -> int:
        tensor = tensor.detach().float().contiguous()
        self._kept.append(tensor)
        return tensor.data_ptr()

    def _array(self, kind: Any, values: list[Any]) -> Any:
        array = array_of(kind, values)
        self._kept.append(array)
        return array


def check(model: OpenVLA) -> None:
    """Refuse what the engine would compute differently.

    Raises:
        EngineError: naming it.
    """
    dino, siglip, text = model.dino.config, model.siglip.config, model.language_model.config
    patches = (model.config.image_size // dino.patch_size) ** 2
    unknown = {p.dtype for p in model.parameters()} - {torch.float32, torch.bfloat16}
    facts = {
        'type of the weights': (unknown, set()),
        'device': ({str(p.device) for p in model.parameters()}, {'cpu'}),
        'dino.hidden_act': (dino.hidden_act, 'gelu'),
        'dino.use_swiglu_ffn': (bool(dino.use_swiglu_ffn), False),
        'siglip.hidden_act': ({siglip.hidden_act} - {'gelu', 'gelu_pytorch_tanh'}, set()),
        'siglip.patch_size': (siglip.patch_size, dino.patch_size),
        'siglip.image_size': (siglip.image_size, dino.image_size),
        'dino positions': (model.dino.embeddings.position_embeddings.shape[1], patches + 1),
        'text.hidden_act': (text.hidden_act, 'silu'),
        'hooks': ([n for n, m in model.named_modules() if m._forward_pre_hooks], []),
    }
    for name, (found, needed) in facts.items():
        if found != needed:
            raise EngineError(
                f'{name} is {found}, the engine computes {needed}; choose the engine torch.'
            )
    linear = (nn.Linear, PackedLinear, MixedLinear)
    for name, module in model.named_modules():
        if isinstance(module, PackedLinear) and module.down is not None:
            raise EngineError(
                f'{name} has a low-rank change beside its integers; choose the engine torch, or '
                'export a run of the merged adapter.'
            )
        if isinstance(module, nn.Linear) and type(module) not in linear:
            raise EngineError(
                f'{name} is a {type(module).__name__}, the engine computes linear and packed '
                'layers; choose the engine torch.'
            )
