#include <pybind11/stl.h>

#include <optional>
#include <utility>

#include "bound_network.h"
#include "names.h"
#include "piste/network.h"
#include "registers.h"

namespace piste {
namespace {

py::tuple as_tuple(const Shape& shape) {
  py::tuple result(shape.rank());
  for (int axis = 0; axis < shape.rank(); ++axis) result[axis] = shape[axis];
  return result;
}

Shape as_shape(const std::vector<Index>& dims) {
  Shape shape;
  for (Index dim : dims) shape.push_back(dim);
  return shape;
}

template <class T>
void define_builders(py::class_<BoundNetwork<T>>& c) {
  using B = BoundNetwork<T>;
  using py::object;
  using std::string;
  c.def("input", [](B& b) { return b.network.input(); });
  c.def("conv", [](B& b, int x, string name, object weight, object bias, const ConvOptions& options,
                   const string& padding_mode) {
    return b.network.conv(x, std::move(name), b.own(weight), b.own(bias), options,
                          padding_mode_named(padding_mode));
  });
  c.def("conv_transpose",
        [](B& b, int x, string name, object weight, object bias, const ConvOptions& options) {
          return b.network.conv_transpose(x, std::move(name), b.own(weight), b.own(bias), options);
        });
  c.def("linear", [](B& b, int x, string name, object weight, object bias) {
    return b.network.linear(x, std::move(name), b.own(weight), b.own(bias));
  });
  c.def("activation", [](B& b, int x, string name, const string& kind, T a1, T a2) {
    return b.network.activation(x, std::move(name), activation_named(kind), a1, a2);
  });
  c.def("prelu", [](B& b, int x, string name, object weight) {
    return b.network.prelu(x, std::move(name), b.own(weight));
  });
  c.def("max_pool", [](B& b, int x, string name, int axes, const PoolWindow& window) {
    return b.network.max_pool(x, std::move(name), axes, window);
  });
  c.def("avg_pool", [](B& b, int x, string name, int axes, const PoolWindow& window,
                       bool count_include_pad, Index divisor_override) {
    return b.network.avg_pool(x, std::move(name), axes, window, count_include_pad,
                              divisor_override);
  });
  c.def("adaptive_pool", [](B& b, int x, string name, int axes, Triple output_size, bool max) {
    return b.network.adaptive_pool(x, std::move(name), axes, output_size, max);
  });
  c.def("batch_norm", [](B& b, int x, string name, int axes, Index channels, object weight,
                         object bias, object mean, object var, object batches_tracked,
                         std::optional<double> momentum, double eps) {
    return b.network.batch_norm(x, std::move(name), axes, channels, b.own(weight), b.own(bias),
                                b.own(mean), b.own(var),
                                b.template own<std::int64_t>(batches_tracked), momentum, eps);
  });
  c.def("layer_norm", [](B& b, int x, string name, std::vector<Index> normalized_shape,
                         object weight, object bias, double eps) {
    return b.network.layer_norm(x, std::move(name), std::move(normalized_shape), b.own(weight),
                                b.own(bias), eps);
  });
  c.def("group_norm", [](B& b, int x, string name, int axes, Index channels, Index groups,
                         object weight, object bias, double eps) {
    return b.network.group_norm(x, std::move(name), axes, channels, groups, b.own(weight),
                                b.own(bias), eps);
  });
  c.def("instance_norm", [](B& b, int x, string name, int axes, Index channels, object weight,
                            object bias, object mean, object var, double momentum, double eps) {
    return b.network.instance_norm(x, std::move(name), axes, channels, b.own(weight), b.own(bias),
                                   b.own(mean), b.own(var), momentum, eps);
  });
  c.def("local_response_norm",
        [](B& b, int x, string name, Index size, double alpha, double beta, double k) {
          return b.network.response_norm(x, std::move(name), {size, alpha, beta, k});
        });
  c.def("dropout", [](B& b, int x, string name, T p, int axes) {
    return b.network.dropout(x, std::move(name), p, axes);
  });
  c.def("flatten", [](B& b, int x, string name, int start, int end) {
    return b.network.flatten(x, std::move(name), start, end);
  });
  c.def("unflatten", [](B& b, int x, string name, int axis, std::vector<Index> sizes) {
    return b.network.unflatten(x, std::move(name), axis, std::move(sizes));
  });
  c.def("add",
        [](B& b, int x, int z, string name) { return b.network.add(x, z, std::move(name)); });
  c.def("concat", [](B& b, std::vector<int> values, string name) {
    return b.network.concat(std::move(values), std::move(name));
  });
  c.def("softmax", [](B& b, int x, string name, bool log, int axis) {
    return b.network.softmax(x, std::move(name), log, axis);
  });
  c.def("output", [](B& b, int x) { b.network.output(x); });
  c.def("set_input_scale", [](B& b, T scale, T shift) { b.network.set_input_scale(scale, shift); });
}

template <class T>
void define_runs(py::class_<BoundNetwork<T>>& c) {
  using B = BoundNetwork<T>;
  c.def("writeable", &B::writeable);
  c.def("output_shape", [](const B& b, const std::vector<Index>& sample) {
    return as_tuple(b.network.output_shape(as_shape(sample)));
  });
  c.def(
      "plan",
      [](B& b, const std::string& mode, Index batch, const std::vector<Index>& sample,
         const Optimizer<T>* optimizer, const Augmentation<T>* augmentation) {
        const Call call(b);
        return b.network.table(plan_mode_named(mode), batch, as_shape(sample), optimizer,
                               augmentation);
      },
      py::arg("mode"), py::arg("batch"), py::arg("sample"), py::arg("optimizer") = py::none(),
      py::arg("augmentation") = py::none());
  c.def("time_steps", [](B& b, bool on) {
    const Call call(b);
    b.network.time_steps(on);
  });
  c.def("step_times", [](B& b) {
    const Call call(b);
    return b.network.step_times();
  });
  c.def("gradients", [](py::object self) {
    py::list arrays;
    for (const View<T>& g : self.cast<B&>().network.gradients())
      arrays.append(
          py::array_t<T>(std::vector<py::ssize_t>(g.shape.begin(), g.shape.end()), g.data, self));
    return arrays;
  });
  c.def(
      "predict",
      [](B& b, const py::array& x, View<T> out, const py::object& augmentation) {
        const auto input = as_input(x);
        // As a pointer, None would be looked for among other modules' classes in each call.
        const bool given = !augmentation.is_none();
        if (given && !py::isinstance<Augmentation<T>>(augmentation))
          throw py::type_error("augmentation: expected one of the network's dtype");
        const auto* augment = given ? augmentation.cast<const Augmentation<T>*>() : nullptr;
        const Call call(b);
        b.network.predict(input, out, augment);
      },
      py::arg("x"), py::arg("out"), py::arg("augmentation") = py::none());
  c.def("forward",
        [](B& b, const py::array& x, View<T> out, bool training, std::uint64_t seed, Index step) {
          const auto input = as_input(x);
          const Call call(b);
          b.network.forward(input, out, training, seed, step);
        });
  c.def("backward", [](B& b, View<const T> grad_output, View<T> grad_input) {
    const Call call(b);
    b.network.backward(grad_output, grad_input);
  });
  c.def(
      "evaluate",
      [](B& b, const py::array& x, const py::object& y, Index batch_size, const Loss<T>& loss,
         View<const T> sample_weight, const Augmentation<T>* augmentation) {
        const auto input = as_input(x);
        const auto target = as_target<T>(y, sample_weight);
        const Call call(b);
        return b.network.evaluate(input, target, batch_size, loss, augmentation);
      },
      py::arg("x"), py::arg("y"), py::arg("batch_size"), py::arg("loss"),
      py::arg("sample_weight") = py::none(), py::arg("augmentation") = py::none());
}

template <class T>
void define(py::module_& module, const char* suffix) {
  const std::string dtype = suffix;
  py::class_<Loss<T>>(module, ("Loss" + dtype).c_str())
      .def(py::init([](const std::string& kind, const std::string& pointwise, T a, T b,
                       const std::string& reduction, View<const T> class_weight,
                       View<const T> weight, View<const T> extra, std::optional<Index> ignore_index,
                       T label_smoothing) {
             const auto copy = [](const View<const T>& view) {
               return std::vector<T>(view.data, view.data + (view ? view.size() : 0));
             };
             return Loss<T>{loss_named(kind),
                            pointwise_loss_named(pointwise),
                            a,
                            b,
                            reduction_named(reduction),
                            copy(class_weight),
                            copy(weight),
                            copy(extra),
                            ignore_index,
                            label_smoothing};
           }),
           py::arg("kind"), py::arg("pointwise") = "squared", py::arg("a") = 0, py::arg("b") = 0,
           py::arg("reduction") = "mean", py::arg("class_weight") = py::none(),
           py::arg("weight") = py::none(), py::arg("extra") = py::none(),
           py::arg("ignore_index") = -100, py::arg("label_smoothing") = 0);

  py::class_<Augmentation<T>>(module, ("Augmentation" + dtype).c_str())
      .def(py::init<double, Index, std::vector<T>, std::vector<T>>(), py::arg("flip"),
           py::arg("padding"), py::arg("mean"), py::arg("std"));

  py::class_<BoundNetwork<T>> network(module, ("Network" + dtype).c_str());
  network.def(py::init<>());
  define_builders(network);
  define_runs(network);
}

}  // namespace

void register_network(py::module_& module) {
  py::class_<PlanStep>(module, "PlanStep")
      .def_readonly("pass_", &PlanStep::pass)
      .def_readonly("layer", &PlanStep::layer)
      .def_readonly("kernel", &PlanStep::kernel)
      .def_readonly("algorithm", &PlanStep::algorithm)
      .def_property_readonly("input", [](const PlanStep& s) { return as_tuple(s.input); })
      .def_property_readonly("output", [](const PlanStep& s) { return as_tuple(s.output); })
      .def_readonly("bytes", &PlanStep::bytes)
      .def_readonly("flops", &PlanStep::flops)
      .def_readonly("segment", &PlanStep::segment);
  py::class_<PlanTable>(module, "PlanTable")
      .def_readonly("isa", &PlanTable::isa)
      .def_readonly("batch", &PlanTable::batch)
      .def_readonly("groups", &PlanTable::groups)
      .def_readonly("micro_batch", &PlanTable::micro_batch)
      .def_readonly("threads", &PlanTable::threads)
      .def_readonly("arena_bytes", &PlanTable::arena_bytes)
      .def_readonly("worker_bytes", &PlanTable::worker_bytes)
      .def_readonly("steps", &PlanTable::steps);
  py::class_<StepTimes>(module, "StepTimes")
      .def_readonly("steps", &StepTimes::steps)
      .def_readonly("prepare", &StepTimes::prepare)
      .def_readonly("finish", &StepTimes::finish)
      .def_readonly("update", &StepTimes::update);
  define<float>(module, "F32");
  define<double>(module, "F64");
}

}  // namespace piste
