import { fail } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { type Files, readJson, writeTogether } from './files.js';

/**
 * A TensorFlow.js IOHandler over Files (a folder, an address, memory), in the layout of tf.LayersModel.save: model.json and
 * weights.bin. For `model.save(layersFiles(folder('my-model')))` and `tf.loadLayersModel(layersFiles(...))`, also without
 * tfjs-node.
 */
export const layersFiles = (files: Files): tf.io.IOHandler => ({
  async save(artifacts) {
    const { modelTopology, weightSpecs, weightData, format = 'layers-model', generatedBy, convertedBy, trainingConfig } = artifacts;
    const json = {
      format,
      generatedBy,
      convertedBy: convertedBy ?? null,
      modelTopology,
      ...(trainingConfig ? { trainingConfig } : {}),
      weightsManifest: [{ paths: ['weights.bin'], weights: weightSpecs ?? [] }],
    };
    await writeTogether(files, async (into) => {
      await into.write('model.json', new TextEncoder().encode(JSON.stringify(json)));
      await into.write('weights.bin', new Uint8Array(tf.io.concatenateArrayBuffers([weightData ?? []].flat() as ArrayBuffer[])));
    });
    return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } };
  },
  async load() {
    const json = (await readJson(files, 'model.json')) as unknown as tf.io.ModelJSON;
    if (!Array.isArray(json.weightsManifest) || !json.modelTopology)
      fail('BAD_JSON', 'layers-files', `${files.where}/model.json is no saved LayersModel`, 'It needs modelTopology and weightsManifest.');
    return tf.io.getModelArtifactsForJSON(json, async (manifest) => {
      const buffers: ArrayBuffer[] = [];
      for (const path of manifest.flatMap(({ paths }) => paths)) {
        const bytes =
          (await files.read(path)) ?? fail('FILE_MISSING', 'layers-files', `${files.where}/${path} is not there`, 'Copy the whole folder.');
        buffers.push(bytes.slice().buffer as ArrayBuffer);
      }
      return [manifest.flatMap(({ weights }) => weights), tf.io.concatenateArrayBuffers(buffers)];
    });
  },
});
