// State dicts in files of the format that torch.save writes.
#include <caffe2/serialize/inline_container.h>
#include <jouleprune/prune.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <fstream>
#include <iterator>
#include <vector>

namespace jouleprune {

void save_state(const c10::IValue& state, const std::string& path) {
  // torch::pickle_save() would tag dicts and lists with their types, by a function that weights_only unpicklers refuse.
  std::string data;
  torch::jit::Pickler pickler([&](const char* begin, size_t size) { data.append(begin, size); }, /*tensor_table=*/nullptr,
                              /*type_renamer=*/nullptr, /*memoized_class_types=*/nullptr, /*get_tensor_id=*/nullptr,
                              /*tag_aggregates=*/false);
  pickler.protocol();
  pickler.pushIValue(state);
  pickler.stop();
  caffe2::serialize::PyTorchStreamWriter writer(path);
  size_t number = 0;
  for (const auto& tensor : pickler.tensorData()) {
    const auto contents = torch::jit::getWriteableTensorData(tensor);  // of the whole storage, as the pickle says
    writer.writeRecord("data/" + std::to_string(number++), contents.data(), contents.sizeInBytes());
  }
  writer.writeRecord("data.pkl", data.data(), data.size());
  const std::string order = "little";  // the only one that this library is built for
  writer.writeRecord("byteorder", order.data(), order.size());
  writer.writeEndOfFile();
}

c10::IValue load_state(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  TORCH_CHECK_VALUE(file.good() || !bytes.empty(), "load_state: path: expected a file that can be read, got '", path, "'");
  try {
    return torch::jit::pickle_load(bytes);
  } catch (const c10::Error& error) {
    throw c10::ValueError("load_state: expected what save_state() or torch.save wrote, got '" + path + "': " + error.what_without_backtrace());
  }
}

}  // namespace jouleprune
