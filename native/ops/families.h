// The families of operators: one file each, and here its table.
#pragma once

#include "ir/operator.h"

namespace sparbor {

const std::vector<OperatorType>& linear_operators();
const std::vector<OperatorType>& convolution_operators();
const std::vector<OperatorType>& normalisation_operators();
const std::vector<OperatorType>& elementwise_operators();
const std::vector<OperatorType>& typed_operators();
const std::vector<OperatorType>& reduction_operators();
const std::vector<OperatorType>& scan_operators();
const std::vector<OperatorType>& array_operators();
const std::vector<OperatorType>& indexing_operators();
const std::vector<OperatorType>& update_operators();
const std::vector<OperatorType>& shape_operators();
const std::vector<OperatorType>& pool_operators();
const std::vector<OperatorType>& resizing_operators();
const std::vector<OperatorType>& matmul_operators();
const std::vector<OperatorType>& attention_operators();
const std::vector<OperatorType>& recurrent_operators();
const std::vector<OperatorType>& quantized_operators();
const std::vector<OperatorType>& quantized_arithmetic_operators();
const std::vector<OperatorType>& quantized_convolution_operators();

}  // namespace sparbor
