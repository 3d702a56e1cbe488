#!/usr/bin/env bash
# @tensorflow/tfjs-node or tfjs-node-gpu on a current TensorFlow: takes the library and the C headers out of Python's wheel and
# compiles the package's own addon against them. Run it in the folder of your package.json; needs python3 with pip, unzip, g++
# and Node's headers (Debian: libnode-dev).
#   bash tfjs-node-on-current-tensorflow.sh tfjs-node tensorflow-cpu==2.21.0
#   bash tfjs-node-on-current-tensorflow.sh tfjs-node-gpu tensorflow==2.21.0
set -euo pipefail
package=${1:-tfjs-node}
wheel=${2:-tensorflow-cpu==2.21.0}
project=$PWD
library=$project/.tensorflow

# The package's JavaScript, without its install script, which would download the binary of an old TensorFlow.
staging=$(mktemp -d)
(cd "$staging" && echo '{"private": true}' > package.json && npm install --no-audit --no-fund --ignore-scripts "@tensorflow/$package@4.22.0")
mkdir -p node_modules
cp -rn "$staging/node_modules/." node_modules/
rm -rf "$staging"

if [ ! -e "$library/tensorflow/libtensorflow_cc.so.2" ]; then
  mkdir -p "$library"
  python3 -m pip download --no-deps -d "$library" "$wheel"
  unzip -q -o "$library"/*.whl 'tensorflow/libtensorflow_*' 'tensorflow/include/tensorflow/c/*' 'tensorflow/include/xla/*' \
    'tensorflow/include/tsl/*' 'tensorflow/include/tensorflow/core/platform/*' -d "$library"
  rm "$library"/*.whl
fi

headers=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")/include/node
[ -e "$headers/node_api.h" ] || headers=/usr/include/node
cd "node_modules/@tensorflow/$package"
mkdir -p lib/napi-v8
g++ -O2 -shared -fPIC -std=c++17 -DNAPI_VERSION=8 -DBUILDING_NODE_EXTENSION \
  -I"$headers" -I"$library/tensorflow/include" -I. -I.. binding/tfjs_backend.cc binding/tfjs_binding.cc \
  -L"$library/tensorflow" -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2 -Wl,-rpath,"$library/tensorflow" \
  -o lib/napi-v8/tfjs_binding.node
cd "$project"
node -e "const tf = require('@tensorflow/$package'); const a = tf.ones([64, 64]); console.log(tf.getBackend(), a.matMul(a).sum().dataSync()[0] === 64 ** 3 ? 'works' : 'is wrong')"
