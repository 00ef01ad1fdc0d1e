/**
 * A plan is a list of steps; a step is plain JSON, so that another process can undo what this one did. No closures here,
 * and no effects.
 */

/** One thing to do on the host. `run` without netns/mntns happens in the host's own namespaces. */
export type Command =
  | {
      readonly kind: 'run';
      readonly argv: readonly string[];
      readonly netns?: string;
      readonly mntns?: string;
      /** Fails where the thing is there already: then it is another's, and nothing has to be undone. */
      readonly exclusive?: boolean;
      /** The mount point of what it mounts beside its work. */
      readonly mounts?: string;
      /** What it does, for who has no need of the tools. */
      readonly does?:
        | { readonly what: 'start init'; readonly enter: string; readonly program: string; readonly rootfs: string }
        | { readonly what: 'persist cgroupns'; readonly enter: string; readonly path: string }
        | { readonly what: 'persist pidns'; readonly init: string; readonly path: string }
        | { readonly what: 'end group'; readonly group: string }
        | ({ readonly what: 'run oci' } & OciRun);
    }
  | {
      readonly kind: 'mount';
      readonly source: string;
      readonly target: string;
      readonly fstype: string;
      readonly options: string;
      /** What relative paths in the options begin with. */
      readonly cwd?: string;
      /** File of a persisted mount namespace; absent: the host's own table. */
      readonly mntns?: string;
    }
  | {
      readonly kind: 'umount';
      readonly targets: readonly string[];
      /** Also where it is busy; of an undo, only then. */
      readonly lazy?: boolean;
      readonly mntns?: string;
      /** Removes the empty files under the mounts, too. */
      readonly unlink?: boolean;
    }
  | { readonly kind: 'mkdir'; readonly path: string; readonly mode: number; readonly parents?: boolean }
  | { readonly kind: 'write'; readonly path: string; readonly content: string; readonly exclusive?: boolean }
  | {
      /** A folder or an empty file, made where it is missing, in a tree that others may be changing: no symlink is followed. */
      readonly kind: 'mountpoint';
      readonly within: string;
      readonly path: string;
      readonly folder: boolean;
    }
  | { readonly kind: 'unlink'; readonly path: string }
  | { readonly kind: 'rmdir'; readonly path: string }
  | {
      readonly kind: 'rmtree';
      readonly path: string;
      /** A btrfs subvolume in it, which rm would take for another file system. */
      readonly subvolume?: string;
    };

/** PID 1 by an OCI runtime. */
export interface OciRun {
  /** The file that takes `0` from who enters the cgroup of PID 1. */
  readonly enter: string;
  readonly bundle: string;
  /** Where its seccomp filter is to be kept. */
  readonly kept?: string;
  /** Files of the namespaces to be in, that of the mounts last. */
  readonly namespaces: readonly string[];
  readonly argv: readonly string[];
  /** Run from a copy in memory that nobody can write. */
  readonly sealed: boolean;
}

/**
 * What a step brings into being. The runner records its identity after the step (`dev:ino`, interface index), and undoes
 * only while that identity is still there: names are reused, and an argv cannot see whose thing it removes.
 */
export interface Claim {
  readonly kind: 'link' | 'nsfile' | 'file' | 'mount' | 'cgroup' | 'nft table' | 'port' | 'ovs' | 'init';
  /** Of `init` the cgroup of a container's PID 1. Of a row in Open vSwitch's database `TABLE NAME OWNER`: by its owner it is known as minict's. */
  readonly name: string;
}

/** Where a mount is to be found that the step brings into being. */
export function mountTarget({ run }: Step): string | undefined {
  return run.kind === 'mount' ? run.target : run.kind === 'run' ? run.mounts : undefined;
}

/** `nic eth0` is an interface; `port eth0` is its host end's being up: what a stop takes away of it. */
export type Part = 'cgroup' | 'namespaces' | 'mounts' | 'ports' | `nic ${string}` | `port ${string}`;

export interface Step {
  readonly id: string;
  readonly why: string;
  /** Steps of one chain run in order; different chains run side by side. Steps without a chain run before them all. */
  readonly chain?: string;
  /** Ids of steps of other chains that it needs done, where they are to be done at the same time: they stand before it. */
  readonly after?: readonly string[];
  readonly run: Command;
  readonly undo?: Command;
  readonly claims?: readonly Claim[];
  /** What is repaired as a whole: its steps are undone and done again together. */
  readonly part?: Part;
  /** The kernel removes this step's thing together with that of the step named here, so it needs no undo of its own. */
  readonly endsWith?: string;
  /**
   * Its undo takes something out of a namespace: it comes before that is given up, and what it says of a failure counts, as
   * it knows itself what is not done yet or already gone.
   */
  readonly leaves?: true;
}
