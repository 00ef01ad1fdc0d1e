/**
 * What starts a container's PID 1 in its root, and puts around it what is not minict's own: namespaces, network, files and
 * cgroups are that everywhere. `chroot` is built in; who has another one loads it.
 */
import type { CgroupPaths } from '../cgroup/cgroup.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { ContainerPaths } from '../state/paths.ts';
import type { Step } from '../step.ts';

export interface RuntimeFacts {
  readonly cgroup: CgroupPaths;
  /** The program that PID 1 is, on the host. */
  readonly init: string;
  readonly rootfs: string;
  /** Where /proc is in it. */
  readonly proc: string;
}

export interface Runtime {
  /** Its PID 1 has UTS, IPC and cgroup namespaces of its own making: `planInit` persists them. */
  readonly makesNamespaces?: true;
  /**
   * From a mounted root without /proc, /sys and /dev to a PID 1 in the cgroup `init`. The first of its namespaces are there.
   * A step `init` claims PID 1 and ends it; the others end with it, or with the mount namespace.
   */
  planInit(spec: ContainerSpec, paths: ContainerPaths, facts: RuntimeFacts, chain: string): Step[];
}

/** Undefined for chroot. Throws HostError where something of it is missing on the host. */
export async function loadRuntime(spec: ContainerSpec): Promise<Runtime | undefined> {
  if (spec.runtime === undefined) return undefined;
  return spec.runtime === 'nspawn'
    ? (await import('./nspawn.ts')).loadNspawn(spec)
    : (await import('./oci.ts')).loadOci(spec, spec.runtime);
}
