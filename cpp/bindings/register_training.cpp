#include <pybind11/stl.h>

#include <functional>
#include <memory>
#include <numeric>
#include <variant>

#include "bound_network.h"
#include "registers.h"

namespace piste {
namespace {

/// What goes on from step to step of a network's training.
template <class T>
struct Training {
  Optimizer<T>& optimizer;
  const Augmentation<T>* augmentation;
  std::uint64_t seed;
  Index steps = 0;                  // batches trained on
  std::vector<std::int64_t> order;  // of one batch as it comes: 0, 1, ...

  /// Some steps, of an epoch or one by itself; they count also where an exception ends the call.
  void run(BoundNetwork<T>& bound, const Input& x, const Target<T>& y,
           View<const std::int64_t> samples, Index batch_size, Index first_batch, double time_limit,
           const Loss<T>& loss, bool in_epoch, Progress& made) {
    const Exclusive::Hold hold(bound.exclusive);
    optimizer.update_at_end = in_epoch;
    struct Count {
      Index& steps;
      const Progress& made;
      ~Count() { steps += made.batches - made.undone; }
    } const count{steps, made};
    if (!samples) samples = as_it_comes(x.shape[0]);
    bound.network.train(x, y, samples, batch_size, first_batch, time_limit, loss, optimizer, seed,
                        steps, made, augmentation);
  }

 private:
  View<const std::int64_t> as_it_comes(Index n) {
    if (static_cast<Index>(order.size()) < n) {
      order.resize(n);
      std::iota(order.begin(), order.end(), 0);
    }
    return {order.data(), {n}};
  }
};

/// Batches of an epoch that are yet to be trained on: alone, or beside those of other networks.
struct TrainCall {
  std::function<void()> run;
  Progress progress;
  std::vector<py::object> keep_alive;
};

template <class T>
std::unique_ptr<TrainCall> make_call(py::object self, py::object network, py::array x, py::array y,
                                     py::object sample_weight, py::object loss, py::array order,
                                     Index batch_size, Index first_batch, double time_limit,
                                     double loss_sum) {
  auto call = std::make_unique<TrainCall>();
  call->progress.loss_sum = loss_sum;
  call->keep_alive = {self, network, x, y, sample_weight, loss, order};
  call->run = [&training = self.cast<Training<T>&>(), &bound = network.cast<BoundNetwork<T>&>(),
               input = as_input(x), target = as_target<T>(y, sample_weight.cast<View<const T>>()),
               samples = order.cast<View<const std::int64_t>>(), batch_size, first_batch,
               time_limit, &chosen_loss = loss.cast<const Loss<T>&>(), &made = call->progress] {
    training.run(bound, input, target, samples, batch_size, first_batch, time_limit, chosen_loss,
                 true, made);
  };
  return call;
}

/// One step on one batch as it comes: its loss, or what is known of its divergence.
template <class T>
std::variant<double, Progress> step(Training<T>& training, BoundNetwork<T>& bound,
                                    const py::array& x, const py::array& y,
                                    View<const T> sample_weight, const Loss<T>& loss) {
  const auto input = as_input(x);
  const auto target = as_target<T>(y, sample_weight);
  Progress made;
  {
    const GilReleased released;
    const FixedThreads threads;
    training.run(bound, input, target, {}, input.shape[0], 0, 0.0, loss, false, made);
  }
  if (made.diverged) return made;
  return made.loss;
}

template <class T>
void define(py::module_& module, const char* name) {
  using Tr = Training<T>;
  py::class_<Tr>(module, name)
      .def(py::init([](Optimizer<T>& optimizer, std::uint64_t seed,
                       const Augmentation<T>* augmentation) {
             return Tr{optimizer, augmentation, seed, 0, {}};
           }),
           py::arg("optimizer"), py::arg("seed"), py::arg("augmentation"), py::keep_alive<1, 2>(),
           py::keep_alive<1, 4>())
      .def_readwrite("steps", &Tr::steps)
      .def("call", &make_call<T>, py::arg("network"), py::arg("x"), py::arg("y"),
           py::arg("sample_weight"), py::arg("loss"), py::arg("order"), py::arg("batch_size"),
           py::arg("first_batch"), py::arg("time_limit"), py::arg("loss_sum"))
      .def("step", &step<T>, py::arg("network"), py::arg("x"), py::arg("y"),
           py::arg("sample_weight"), py::arg("loss"));
}

}  // namespace

void register_training(py::module_& module) {
  py::class_<Progress>(module, "Progress")
      .def_readonly("batches", &Progress::batches)
      .def_readonly("samples", &Progress::samples)
      .def_readonly("correct", &Progress::correct)
      .def_readonly("loss_sum", &Progress::loss_sum)
      .def_readonly("diverged", &Progress::diverged)
      .def_readonly("undone", &Progress::undone)
      .def_readonly("step", &Progress::step)
      .def_readonly("loss", &Progress::loss)
      .def_readonly("layer", &Progress::layer);
  py::class_<TrainCall>(module, "TrainCall")
      .def("run",
           [](TrainCall& call) {
             const GilReleased released;
             const FixedThreads threads;
             call.run();
           })
      .def_readonly("progress", &TrainCall::progress);
  module.def("side_by_side", [](const std::vector<TrainCall*>& calls) {
    std::vector<std::function<void()>> runs;
    for (const TrainCall* call : calls) runs.push_back(call->run);
    const GilReleased released;
    side_by_side(runs);
  });
  define<float>(module, "TrainingF32");
  define<double>(module, "TrainingF64");
}

}  // namespace piste
