#pragma once

#include <Python.h>
#include <unistd.h>

namespace piste {

/// While it lives, its thread is without the GIL. When the interpreter ends meanwhile, a daemon
/// thread gets it no more: Python before 3.14 then unwinds the thread's stack, which would end the
/// process here, as that must not leave a destructor. The thread waits for the process to end.
class GilReleased {
 public:
  GilReleased() : state_(PyEval_SaveThread()) {}
  ~GilReleased() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) pause();
    }
  }
  GilReleased(const GilReleased&) = delete;
  GilReleased& operator=(const GilReleased&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace piste
