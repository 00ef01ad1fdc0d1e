/** btrfs: a container's files are a subvolume, made of its image's in constant time; so are snapshots and clones of it. */
import { statfsSync } from 'node:fs';
import { HostError } from '../errors.ts';
import { BTRFS } from '../host/subvolume.ts';
import { missingTool } from '../host/tool.ts';
import type { StorageDriver } from './driver.ts';
import { checkLayers } from './overlay-options.ts';
import { mergeCommand, treeMount } from './plain-tree.ts';

export const btrfs: StorageDriver = {
  validate(layers, dir) {
    if (statfsSync(dir).type !== BTRFS) {
      throw new HostError(`cannot put containers into ${dir} as btrfs subvolumes: it is on another file system`, {
        hint: 'name a folder on btrfs with --root DIR, or take --storage overlay or copy',
      });
    }
    if (Bun.which('btrfs') === null) throw missingTool('btrfs');
    checkLayers(layers, dir);
  },
  folders: ({ rootfs }) => [rootfs],
  rootMount: ({ files }, _, how) => treeMount(files, how),
  trees: {
    fromLayers: (layers, to) => [{ kind: 'run', argv: ['btrfs', 'subvolume', 'create', to] }, mergeCommand(layers, to)],
    fromTree: (from, to) => [{ kind: 'run', argv: ['btrfs', 'subvolume', 'snapshot', from, to] }],
    keepsImages: true,
  },
};
