/** overlay: the image's layers, read-only, under a directory of the container's own. Nothing is copied. */
import type { StorageDriver } from './driver.ts';
import { checkLayers, checkUpper, overlayOptions } from './rootfs.ts';

export const overlay: StorageDriver = {
  validate(layers, dir) {
    checkUpper(dir);
    checkLayers(layers, dir);
  },
  folders: ({ upper, work, rootfs }) => [upper, work, rootfs],
  rootMount: ({ upper, work }, layers, readOnly) => {
    const { options, ...cwd } = overlayOptions({ lower: layers, upper, work });
    return {
      why: readOnly ? 'the image, read-only' : 'the image, read-only, under a layer of its own',
      source: 'overlay',
      fstype: 'overlay',
      options: readOnly ? `ro,${options}` : options,
      ...cwd,
    };
  },
};
