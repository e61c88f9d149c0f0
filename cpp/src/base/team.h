#pragma once

#include "base/call_ref.h"
#include "base/watch.h"

namespace piste {

/// Threads that help the calling one, kept from one call to the next. A helper is with one team at
/// a time, and a team waits only for helpers that have begun: one that gets no CPU in time leaves
/// its share to the others instead of holding them up.
class Team {
 public:
  /// Offers work(worker), 0 < worker <= helpers, to as many helpers; those that are with other
  /// teams stay there. `work` must not throw, and must live as long as the team.
  Team(int helpers, CallRef<int> work);
  /// Takes back what has not begun and waits for the rest.
  ~Team() { take_back(nullptr); }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  /// The same earlier, asking the watch's question meanwhile, if there is a watch. What that
  /// throws, it throws; and an error in the child of a fork, which has no helper to end what it
  /// began.
  void wait(Watch* watch);
  void work(int worker) const { work_(worker); }

 private:
  bool take_back(Watch* watch);

  CallRef<int> work_;
  int helpers_, forks_;
};

}  // namespace piste
