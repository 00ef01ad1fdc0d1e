/** copy: all files of a container are copies, which share their blocks where the file system can. Works anywhere. */
import type { StorageDriver } from './driver.ts';
import { checkLayers } from './overlay-options.ts';
import { mergeCommand, treeMount } from './plain-tree.ts';

export const copy: StorageDriver = {
  validate: checkLayers,
  folders: ({ rootfs }) => [rootfs],
  rootMount: ({ files }, _, how) => treeMount(files, how),
  trees: {
    fromLayers: (layers, to) => [{ kind: 'mkdir', path: to, mode: 0o755 }, mergeCommand(layers, to)],
    fromTree: (from, to) => [{ kind: 'run', argv: ['cp', '-a', '--reflink=auto', '-T', '--', from, to] }],
    keepsImages: false,
  },
};
