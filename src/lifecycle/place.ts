/** Where a container's program has to go, its namespaces and its root, and as whom. */
import { containerEnv, type Program, type Run } from '../process/enter.ts';
import { heldCapabilities } from '../process/oci.ts';
import { runIn } from '../process/run-in.ts';
import { OCI_LOG_FILE, OCI_PROCESS_FILE } from '../process/waiter.ts';
import { type ContainerSpec, isIsolated, rootfsOf, treeOf } from '../spec/container.ts';
import { OCI_RUNTIMES, type OciRuntime } from '../spec/oci-runtime.ts';
import type { GuestPlace, OciPlace, Place } from '../spec/place.ts';
import { capabilitiesOf, droppedByNspawn } from '../spec/security.ts';
import type { ContainerPaths } from '../state/paths.ts';
import { userInside } from './user-inside.ts';

export function placeOf(spec: ContainerSpec, paths: ContainerPaths): Place {
  const tree = treeOf(spec, paths.files);
  return {
    rootfs: rootfsOf(spec, paths.rootfs),
    layers: tree === undefined ? [paths.upper, ...(spec.lower ?? [])] : [tree],
    netns: paths.netns,
    utsns: paths.utsns,
    mntns: spec.mounts === 'private' ? paths.mntns : undefined,
    ...(spec.runtime === undefined || spec.runtime === 'nspawn' ? {} : { oci: ociPlace(spec, spec.runtime, paths) }),
    ...(spec.runtime === 'nspawn' ? { guest: guestPlace(spec, paths) } : {}),
    ...(isIsolated(spec, 'pid') ? { pidns: paths.pidns } : {}),
    ...(isIsolated(spec, 'ipc') ? { ipcns: paths.ipcns } : {}),
    ...(isIsolated(spec, 'cgroupns') ? { cgroupns: paths.cgroupns } : {}),
    ...(isIsolated(spec, 'timens') ? { timens: paths.timens } : {}),
    ...(spec.userns === undefined ? {} : { userns: paths.userns }),
    ...(spec.ulimits === undefined ? {} : { ulimits: ulimitWords(spec.ulimits) }),
  };
}

function ociPlace(spec: ContainerSpec, runtime: OciRuntime, { oci }: ContainerPaths): OciPlace {
  const words = [...OCI_RUNTIMES[runtime].options, '--root', `${oci}/state`, '--log', OCI_LOG_FILE, 'exec'];
  return {
    runtime,
    words: [...words, '--process', OCI_PROCESS_FILE, 'main'],
    capabilities: capabilitiesOf(spec, heldCapabilities()),
    noNewPrivileges: spec.noNewPrivileges ?? false,
  };
}

function guestPlace({ boot }: ContainerSpec, { guestMntns }: ContainerPaths): GuestPlace {
  return { mntns: guestMntns, drop: droppedByNspawn(), ...(boot ? { boots: true } : {}) };
}

function ulimitWords(ulimits: NonNullable<ContainerSpec['ulimits']>): string[] {
  const shown = (value: number) => (value === -1 ? 'unlimited' : String(value));
  return Object.entries(ulimits).map(([name, { soft, hard }]) => `--${name}=${shown(soft)}:${shown(hard)}`);
}

/** Its health check: a line for a shell, as the main command's user. */
export function checkProgram(spec: ContainerSpec, line: string, paths: ContainerPaths, mounted: Place['mounted']): Run {
  return mainProgram({ ...spec, command: ['/bin/sh', '-c', line] }, paths, undefined, mounted);
}

/** The main command, with what is mounted in its root: how to get inside and run it, and with which environment. */
export function mainProgram(
  spec: ContainerSpec,
  paths: ContainerPaths,
  term: string | undefined,
  mounted: Place['mounted'],
  way: Pick<Program, 'init' | 'entry'> = {},
): Run {
  const place = placeOf(spec, paths);
  const env = containerEnv(spec);
  const user = spec.user === undefined ? undefined : userInside(spec.user, { layers: place.layers, mounted });
  return runIn(
    place,
    { argv: spec.command, env, user, workdir: spec.workdir, ...way },
    term === undefined ? undefined : { term },
  );
}
