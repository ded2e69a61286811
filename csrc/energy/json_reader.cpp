#include "energy/json_reader.h"

#include <cmath>
#include <set>
#include <stdexcept>
#include <utility>

namespace jouleprune::energy {
namespace {

constexpr size_t kShownValue = 60;

std::string escaped(std::string key) {
  for (size_t at = 0; (at = key.find_first_of("~/", at)) != std::string::npos; at += 2) {
    key.replace(at, 1, key[at] == '~' ? "~0" : "~1");
  }
  return key;
}

std::string shown(const Json& json) {
  std::string text = json.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kShownValue) text = text.substr(0, kShownValue) + "...";
  return text;
}

/// ASCII only: what the parser tells of a bad document quotes its bytes, which need not be UTF-8.
std::string printable(std::string_view text) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string shown;
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (byte >= 0x20 && byte < 0x7f) {
      shown += letter;
    } else {
      shown.append("\\x").append(1, kDigits[byte >> 4]).append(1, kDigits[byte & 15]);
    }
  }
  return shown;
}

/// Follows the parser, so that errors of syntax and of structure have a place.
class Path {
 public:
  explicit Path(const Document& document, int max_depth) : document_(document), max_depth_(max_depth) {}

  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    switch (event) {
      case Event::object_start:
      case Event::array_start:
        if (depth >= max_depth_) {
          fail("expected at most " + std::to_string(max_depth_) + " levels of nesting, got more");
        }
        open_.push_back({event == Event::array_start, 0, {}, {}});
        break;
      case Event::object_end:
      case Event::array_end:
        open_.pop_back();
        advance();
        break;
      case Event::key: {
        Open& object = open_.back();
        object.key = parsed.get_ref<const std::string&>();
        if (!object.keys.insert(object.key).second) fail("expected each key once, got it twice");
        break;
      }
      case Event::value: advance(); break;
    }
    return true;
  }

  [[noreturn]] void fail(const std::string& what) const {
    document_.fail(document_.origin + ": " + pointer() + ": " + what);
    throw std::logic_error("an error handler returned");
  }

  std::string pointer() const {
    std::string text;
    for (const Open& open : open_) text.append("/").append(open.array ? std::to_string(open.index) : escaped(open.key));
    return text.empty() ? "/" : text;
  }

 private:
  struct Open {
    bool array;
    size_t index;
    std::string key;
    std::set<std::string> keys;
  };

  void advance() {
    if (!open_.empty()) ++open_.back().index;
  }

  const Document& document_;
  int max_depth_;
  std::vector<Open> open_;
};

}  // namespace

Json parse_json(std::string_view text, const Document& document, int max_depth) {
  Path path(document, max_depth);
  try {
    return Json::parse(text.begin(), text.end(), [&path](int depth, Json::parse_event_t event, Json& parsed) {
      return path(depth, event, parsed);
    });
  } catch (const Json::exception& error) {
    path.fail("expected JSON, got " + printable(error.what()));
  }
}

void Node::expect_object() const {
  if (!json_->is_object()) fail("an object");
}

void Node::expect_keys(std::initializer_list<std::string_view> keys) const {
  expect_object();
  for (const auto& [key, value] : json_->items()) {
    bool known = false;
    for (const std::string_view candidate : keys) known = known || candidate == key;
    if (known) continue;
    std::vector<std::string> names(keys.begin(), keys.end());
    Node(value, *document_, pointer_ + "/" + escaped(key))
        .fail_plainly("unknown key; expected one of " + joined(names));
  }
}

Node Node::at(std::string_view key) const {
  expect_object();
  const auto found = json_->find(key);
  const std::string place = pointer_ + "/" + escaped(std::string(key));
  if (found == json_->end()) Node(*json_, *document_, place).fail_plainly("missing");
  return {*found, *document_, place};
}

Node Node::item(size_t index) const { return {(*json_)[index], *document_, pointer_ + "/" + std::to_string(index)}; }

size_t Node::array_size(size_t max) const {
  if (!json_->is_array()) fail("an array");
  if (json_->size() > max) {
    fail_plainly("expected at most " + std::to_string(max) + " items, got " + std::to_string(json_->size()));
  }
  return json_->size();
}

std::string Node::text(size_t max_length) const {
  if (!json_->is_string()) fail("a string");
  const auto& text = json_->get_ref<const std::string&>();
  if (text.size() > max_length) fail("a string of at most " + std::to_string(max_length) + " bytes");
  return text;
}

std::string Node::one_of(std::initializer_list<std::string_view> choices) const {
  if (json_->is_string()) {
    for (const std::string_view choice : choices) {
      if (choice == json_->get_ref<const std::string&>()) return std::string(choice);
    }
  }
  fail("one of " + joined({choices.begin(), choices.end()}));
}

bool Node::boolean() const {
  if (!json_->is_boolean()) fail("true or false");
  return json_->get<bool>();
}

double Node::number() const {
  if (!json_->is_number()) fail("a number");
  const double value = json_->get<double>();
  if (!std::isfinite(value)) fail("a finite number");
  return value;
}

int64_t Node::count() const {
  const std::string expected = "an integer from 0 to 2^53";
  if (!json_->is_number_integer()) fail(expected);
  if (json_->is_number_unsigned() && json_->get<uint64_t>() > static_cast<uint64_t>(kMaxCount)) fail(expected);
  const auto value = json_->get<int64_t>();
  if (value < 0 || value > kMaxCount) fail(expected);
  return value;
}

void Node::fail(const std::string& expected) const { fail_plainly("expected " + expected + ", got " + shown(*json_)); }

void Node::fail_plainly(const std::string& what) const {
  document_->fail(document_->origin + ": " + (pointer_.empty() ? "/" : pointer_) + ": " + what);
  throw std::logic_error("an error handler returned");
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace jouleprune::energy
