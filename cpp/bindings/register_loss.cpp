#include <pybind11/stl.h>

#include <optional>

#include "arrays.h"
#include "names.h"
#include "piste/loss.h"
#include "registers.h"

namespace piste {
namespace {

template <class T>
using Labels = LabelLossInput<T>;
using Int64 = View<const std::int64_t>;

template <class T>
void define_pointwise(py::module_& module) {
  def_released(
      module, "pointwise_loss",
      [](const std::string& kind, T a, T b, View<const T> input, View<const T> target,
         View<const T> extra, View<const T> weight, View<T> losses) {
        return pointwise_loss<T>({pointwise_loss_named(kind), a, b, input, target, extra, weight},
                                 losses);
      },
      py::arg("kind"), py::arg("a"), py::arg("b"), py::arg("input"), py::arg("target"),
      py::arg("extra"), py::arg("weight"), py::arg("losses"));
  def_released(
      module, "pointwise_loss_backward",
      [](const std::string& kind, T a, T b, View<const T> input, View<const T> target,
         View<const T> extra, View<const T> weight, View<const T> grad, T scale, View<T> dinput,
         View<T> dtarget, View<T> dextra) {
        pointwise_loss_backward<T>({pointwise_loss_named(kind), a, b, input, target, extra, weight},
                                   grad, scale, dinput, dtarget, dextra);
      },
      py::arg("kind"), py::arg("a"), py::arg("b"), py::arg("input"), py::arg("target"),
      py::arg("extra"), py::arg("weight"), py::arg("grad_output"), py::arg("scale"),
      py::arg("grad_input"), py::arg("grad_target"), py::arg("grad_extra"));
}

template <class T>
void define_classes(py::module_& module) {
  def_released(module, "cross_entropy", &cross_entropy<T>, py::arg("problem"),
               py::arg("label_smoothing"), py::arg("losses"));
  def_released(module, "cross_entropy_backward", &cross_entropy_backward<T>, py::arg("problem"),
               py::arg("label_smoothing"), py::arg("grad_output"), py::arg("scale"),
               py::arg("grad_input"));
  def_released(module, "cross_entropy_probabilities", &cross_entropy_probabilities<T>,
               py::arg("input"), py::arg("target"), py::arg("weight"), py::arg("label_smoothing"),
               py::arg("losses"));
  def_released(module, "cross_entropy_probabilities_backward",
               &cross_entropy_probabilities_backward<T>, py::arg("input"), py::arg("target"),
               py::arg("weight"), py::arg("label_smoothing"), py::arg("grad_output"),
               py::arg("scale"), py::arg("grad_input"), py::arg("grad_target"));
  def_released(module, "nll_loss", &nll_loss<T>, py::arg("problem"), py::arg("losses"));
  def_released(module, "nll_loss_backward", &nll_loss_backward<T>, py::arg("problem"),
               py::arg("grad_output"), py::arg("scale"), py::arg("grad_input"));
  def_released(module, "multi_margin_loss", &multi_margin_loss<T>, py::arg("problem"), py::arg("p"),
               py::arg("margin"), py::arg("losses"));
  def_released(module, "multi_margin_loss_backward", &multi_margin_loss_backward<T>,
               py::arg("problem"), py::arg("p"), py::arg("margin"), py::arg("grad_output"),
               py::arg("scale"), py::arg("grad_input"));
}

template <class T>
void define(py::module_& module, const char* suffix) {
  py::class_<Labels<T>>(module, (std::string("LabelLossInput") + suffix).c_str())
      .def(py::init([](View<const T> input, Int64 labels, View<const T> weight,
                       std::optional<Index> ignore_index) {
             return Labels<T>{input, labels, weight, ignore_index};
           }),
           py::arg("input"), py::arg("labels"), py::arg("weight"), py::arg("ignore_index"),
           py::keep_alive<1, 2>(), py::keep_alive<1, 3>(), py::keep_alive<1, 4>())
      .def(
          "count",
          [](const Labels<T>& problem) {
            return count_labels(problem.labels, problem.input.shape[1], problem.weight,
                                problem.ignore_index);
          },
          py::call_guard<GilReleased, FixedThreads>());
  define_pointwise<T>(module);
  define_classes<T>(module);
}

}  // namespace

void register_loss(py::module_& module) {
  py::class_<LabelCount>(module, "LabelCount")
      .def_readonly("first_wrong", &LabelCount::first_wrong)
      .def_readonly("counted", &LabelCount::counted)
      .def_readonly("weight", &LabelCount::weight);
  def_released(
      module, "first_wrong_label",
      [](Int64 labels, Index classes, std::optional<Index> ignore_index) {
        return count_labels<float>(labels, classes, {}, ignore_index).first_wrong;
      },
      py::arg("labels"), py::arg("classes"), py::arg("ignore_index"));
  define<float>(module, "F32");
  define<double>(module, "F64");
}

}  // namespace piste
