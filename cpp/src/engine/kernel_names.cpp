#include "engine/node.h"

namespace piste {

const char* kernel_name(const Node& node) {
  switch (node.kind) {
    case NodeKind::input:
      return "gather";
    case NodeKind::conv:
      return node.bias < 0 ? "conv" : "conv+bias";
    case NodeKind::conv_transpose:
      return node.bias < 0 ? "conv transpose" : "conv transpose+bias";
    case NodeKind::pad:
      return "pad";
    case NodeKind::linear:
      return node.bias < 0 ? "linear" : "linear+bias";
    case NodeKind::activation:
      return node.activation == Activation::relu ? "relu" : "activation";
    case NodeKind::prelu:
      return "prelu";
    case NodeKind::max_pool:
      return "max pool";
    case NodeKind::avg_pool:
      return "avg pool";
    case NodeKind::adaptive_avg_pool:
      return "adaptive avg pool";
    case NodeKind::adaptive_max_pool:
      return "adaptive max pool";
    case NodeKind::batch_norm:
      return "batch norm";
    case NodeKind::layer_norm:
      return "layer norm";
    case NodeKind::group_norm:
      return "group norm";
    case NodeKind::response_norm:
      return "local response norm";
    case NodeKind::dropout:
      return "dropout";
    case NodeKind::add:
      return "add";
    case NodeKind::softmax:
      return "softmax";
    case NodeKind::log_softmax:
      return "log softmax";
    case NodeKind::flatten:
      return "flatten";
    case NodeKind::reshape:
      return "reshape";
    case NodeKind::concat:
      return "concat";
  }
  return "";
}

}  // namespace piste
