/** Which limits the host can apply: where its controllers are, and what they say. Reads only. */
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { HostError, InvalidInputError, NotFoundError } from '../errors.ts';
import { cpuNumbers } from '../spec/cpu-list.ts';
import type { Limits } from '../spec/limits.ts';
import { type CgroupHost, findUnified } from './cgroup.ts';
import { CONTROLLERS, type Controller, controllersOf, type LimitFacts } from './limits.ts';

const read = (...path: string[]) => readFileSync(join(...path), 'utf8').trim();

const words = (text: string) => text.split(/\s+/).filter(Boolean);

const found = new Map<Controller, CgroupHost | undefined>();

/** Its own hierarchy of v1, or the one of v2, where that has it. */
export function findController(controller: Controller): CgroupHost | undefined {
  if (!found.has(controller)) found.set(controller, lookForController(controller));
  return found.get(controller);
}

function lookForController(controller: Controller): CgroupHost | undefined {
  const v1 = join('/sys/fs/cgroup', controller === 'io' ? 'blkio' : controller);
  // Controllers of v1 may share a hierarchy; all their names lead there.
  if (existsSync(join(v1, 'tasks'))) return { version: 1, mountPoint: realpathSync(v1) };
  const v2 = findUnified();
  if (v2 === undefined || !words(read(v2.mountPoint, 'cgroup.controllers')).includes(controller)) return undefined;
  return v2;
}

/** Where limits can be, each hierarchy once. */
export function limitHosts(): CgroupHost[] {
  const hosts = CONTROLLERS.flatMap((each) => findController(each) ?? []);
  return [...new Map(hosts.map((host) => [host.mountPoint, host])).values()];
}

/** What is around a container that minict runs in may not have handed a controller down. */
export function isDelegated(controller: Controller, { version, mountPoint }: CgroupHost): boolean {
  if (version === 1 || words(read(mountPoint, 'cgroup.subtree_control')).includes(controller)) return true;
  // The kernel's root may have processes; any other group with controllers below may not (cgroups(7)).
  return !existsSync(join(mountPoint, 'cgroup.type')) || read(mountPoint, 'cgroup.procs') === '';
}

/** In groups that minict may not have made yet, so the kernel is asked otherwise: see swapaccount= in kernel-parameters.txt. */
export function countsSwap({ version, mountPoint }: CgroupHost): boolean {
  if (version === 1) return existsSync(join(mountPoint, 'memory.memsw.limit_in_bytes'));
  return existsSync('/proc/swaps') && !/\bswapaccount=0\b/.test(read('/proc/cmdline'));
}

/** The whole disk is what the kernel slows down. Throws NotFoundError, InvalidInputError. */
function deviceNumber(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new NotFoundError(`cannot limit ${path}: no such device`, { hint: 'lsblk -p' });
  if (!stat.isBlockDevice()) {
    throw new InvalidInputError(`cannot limit ${path}: not a block device`, { hint: 'lsblk -p' });
  }
  // makedev(3).
  const major = ((stat.rdev >> 8) & 0xfff) + Math.floor(stat.rdev / 2 ** 44) * 2 ** 12;
  const minor = (stat.rdev & 0xff) | ((stat.rdev >> 12) & 0xfff00);
  const number = `${major}:${minor}`;
  if (!existsSync(`/sys/dev/block/${number}/partition`)) return number;
  const disk = realpathSync(`/sys/dev/block/${number}/..`).split('/').at(-1);
  throw new InvalidInputError(`cannot limit ${path}: a partition`, { hint: `its disk: /dev/${disk}` });
}

function requireController(controller: Controller): CgroupHost {
  const host = findController(controller);
  if (host === undefined) {
    throw new HostError(`cannot limit ${controller}: the kernel's cgroups have no such controller here`, {
      hint: 'minict system doctor',
    });
  }
  if (isDelegated(controller, host)) return host;
  throw new HostError(
    `cannot limit ${controller}: the controller is not delegated to the groups in ${host.mountPoint}`,
    {
      hint: `processes are in that group itself; who made it can enable ${controller} before`,
    },
  );
}

function requireCpus({ cpus, cpusetCpus }: Limits, all: string): void {
  const online = cpuNumbers(read('/sys/devices/system/cpu/online'));
  if (cpus !== undefined && cpus > online.length) {
    throw new InvalidInputError(`cannot use --cpus ${cpus}: the host has ${online.length}`);
  }
  if (cpusetCpus === undefined) return;
  const there = new Set(cpuNumbers(all));
  const absent = cpuNumbers(cpusetCpus).find((cpu) => !there.has(cpu));
  if (absent === undefined) return;
  throw new InvalidInputError(`cannot use --cpuset-cpus ${cpusetCpus}: there is no CPU ${absent}`, {
    hint: `the host has ${all}`,
  });
}

function setOf(host: CgroupHost | undefined, what: 'cpus' | 'mems'): string {
  if (host === undefined) return '';
  return host.version === 1
    ? read(host.mountPoint, `cpuset.effective_${what}`)
    : read(host.mountPoint, `cpuset.${what}.effective`);
}

/**
 * Also of those that are to be lifted, where they are still there. Throws HostError for what this host cannot limit, InvalidInputError and NotFoundError
 * for what it does not have.
 */
export function readLimitFacts(limits: Limits, before: Limits = {}): LimitFacts {
  const wanted = controllersOf(limits).map((each) => [each, requireController(each)] as const);
  const lifted = controllersOf(before).flatMap((each) => {
    const host = findController(each);
    return host !== undefined && isDelegated(each, host) ? [[each, host] as const] : [];
  });
  const controllers = new Map([...wanted, ...lifted]);
  const toEnable = [...controllers]
    .filter(([, { version }]) => version === 2)
    .filter(([each, { mountPoint }]) => !words(read(mountPoint, 'cgroup.subtree_control')).includes(each))
    .map(([each]) => each);
  const cpuset = controllers.get('cpuset');
  const cpus = setOf(cpuset, 'cpus');
  requireCpus(limits, cpus);
  const memory = controllers.get('memory');
  const hasSwap = memory !== undefined && countsSwap(memory);
  if (limits.memorySwapBytes !== undefined && !hasSwap) {
    throw new HostError('cannot limit swap: the kernel does not count it', {
      hint: 'swapaccount=1 on its command line',
    });
  }
  const devices = Object.keys({ ...before.io, ...limits.io }).filter(
    (path) => path in (limits.io ?? {}) || existsSync(path),
  );
  return {
    controllers,
    toEnable,
    devices: Object.fromEntries(devices.map((device) => [device, deviceNumber(device)])),
    cpus,
    mems: setOf(cpuset, 'mems'),
    countsSwap: hasSwap,
  };
}
