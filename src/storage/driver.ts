/**
 * What a storage driver has to say: how a container's files come to be, where they are, and how its root is mounted. A file
 * for each driver; all of it is data, which plans and verbs carry out.
 */
import type { ContainerSpec } from '../spec/container.ts';
import type { ContainerPaths } from '../state/paths.ts';
import type { Command } from '../step.ts';
import { btrfs } from './btrfs.ts';
import { copy } from './copy.ts';
import { overlay } from './overlay.ts';
import type { RootMount } from './rootfs.ts';

/** Whether a container writes into its root, and whether it is to last. */
export interface Writing extends Pick<ContainerSpec, 'readOnly' | 'volatile'> {
  /** The kernel's mark of a volatile mount is still there: who made that did not get to remove it. */
  readonly isMarked?: boolean | undefined;
}

export interface StorageDriver {
  /** Throws HostError or InvalidInputError where it cannot keep containers of such layers in the state folder `dir`. */
  validate(layers: readonly string[], dir: string): void;
  /** Folders that it needs in the container's own. */
  folders(paths: ContainerPaths): string[];
  /** What is mounted at the container's `rootfs`. */
  rootMount(paths: ContainerPaths, layers: readonly string[], how: Writing): RootMount;
  /** Absent where what a container wrote is a layer on top of its image's (overlay). */
  readonly trees?: TreeDriver;
}

/** All files of a container in one directory, its `files`; those of a snapshot in another. */
export interface TreeDriver {
  /** Makes the directory `to` of layers, the top one first. */
  fromLayers(layers: readonly string[], to: string): Command[];
  /** Makes the directory `to` of another container's or snapshot's. */
  fromTree(from: string, to: string): Command[];
  /** Each image is kept as a tree, too: the container's is made of that. */
  readonly keepsImages: boolean;
}

const DRIVERS = { overlay, btrfs, copy } as const;

export function isDriver(name: string): name is keyof typeof DRIVERS {
  return Object.hasOwn(DRIVERS, name);
}

export function driverOf({ storage = 'overlay' }: Pick<ContainerSpec, 'storage'>): StorageDriver {
  return DRIVERS[storage];
}
