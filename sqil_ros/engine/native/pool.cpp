// SPDX-License-Identifier: Apache-2.0
#include "pool.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace sqil {
namespace {

// A product lasts microseconds: waiting for the next one by asking is quicker than being woken,
// for as long as one step's products follow each other.
constexpr int kAsks = 20000;
// Who is through with its own share asks less often before it lets others run: a helper that was
// woken may have been given the same core.
constexpr int kAsksAtEnd = 500;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

struct Job {
  void (*work)(void *, int, int);
  void *context;
  int count, shares;
};

class Pool {
 public:
  explicit Pool(int helpers) : wanted_(helpers) {
    try {
      for (; helpers_ < helpers; ++helpers_) {
        // Detached: the threads live as long as the process, and so does the pool.
        std::thread([this, index = helpers_ + 1] { serve(index); }).detach();
      }
    } catch (const std::system_error &) {
      // No more threads are to be had: fewer share the work.
    }
  }

  int wanted() const { return wanted_; }
  int helpers() const { return helpers_; }

  void run(const Job &job) {
    job_ = job;
    unfinished_.store(helpers_, std::memory_order_relaxed);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      round_.fetch_add(1, std::memory_order_release);
    }
    begun_.notify_all();
    share(0);
    for (int asks = 0; unfinished_.load(std::memory_order_acquire) > 0; ++asks) {
      asks < kAsksAtEnd ? pause() : std::this_thread::yield();
    }
  }

 private:
  void share(int index) const {
    if (index >= job_.shares) return;
    const auto bound = [this](int share) { return int(int64_t(job_.count) * share / job_.shares); };
    job_.work(job_.context, bound(index), bound(index + 1));
  }

  void serve(int index) {
    for (uint64_t round = 0;; ++round) {
      int asks = 0;
      while (round_.load(std::memory_order_acquire) == round && ++asks < kAsks) pause();
      if (asks == kAsks) {
        std::unique_lock<std::mutex> lock(mutex_);
        begun_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != round; });
      }
      share(index);
      unfinished_.fetch_sub(1, std::memory_order_release);
    }
  }

  const int wanted_;
  int helpers_ = 0;
  Job job_{};
  std::atomic<uint64_t> round_{0};
  std::atomic<int> unfinished_{0};
  std::mutex mutex_;
  std::condition_variable begun_;
};

std::mutex busy;
Pool *pool = nullptr;
pid_t owner = 0;

// A forked child has none of its parent's threads; the parent's pool is forgotten there. A pool
// that is too small is left to itself too: its threads sleep.
Pool *pool_of(int helpers) {
  if (!pool || owner != getpid() || pool->wanted() < helpers) {
    pool = new Pool(helpers);
    owner = getpid();
  }
  return pool;
}

}  // namespace

void in_parallel(int threads, int count, void (*work)(void *, int, int), void *context) {
  const std::unique_lock<std::mutex> lock(busy, std::try_to_lock);
  Pool *const helpers = lock.owns_lock() ? pool_of(threads - 1) : nullptr;
  if (!helpers) return work(context, 0, count);
  int shares = helpers->helpers() + 1;
  shares = shares < threads ? shares : threads;
  helpers->run({work, context, count, shares < count ? shares : count});
}

}  // namespace sqil
