#pragma once

#include <memory>
#include <type_traits>

namespace piste {

/// A non-owning reference to a callable `void(Args...)`.
template <class... Args>
class CallRef {
 public:
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, CallRef>)
  CallRef(F&& body)  // implicit on purpose: parallel_for(n, lambda)
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(body)))),
        call_([](void* object, Args... args) {
          (*static_cast<std::remove_reference_t<F>*>(object))(args...);
        }) {}
  void operator()(Args... args) const { call_(object_, args...); }

 private:
  void* object_;
  void (*call_)(void*, Args...);
};

}  // namespace piste
