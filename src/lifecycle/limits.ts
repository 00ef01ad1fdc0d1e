/** Whether this host can limit a container so. */
import { readFileSync } from 'node:fs';
import { readLimitFacts } from '../cgroup/controllers.ts';
import { HostError } from '../errors.ts';
import { requireTool } from '../host/tool.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { Ulimits } from '../spec/limits.ts';

const CAP_SYS_RESOURCE = 24n;

/** proc_pid_limits(5): names in words of their own. */
const LIMIT_LINES: Readonly<Record<string, string>> = {
  as: 'address space',
  core: 'core file size',
  cpu: 'cpu time',
  data: 'data size',
  fsize: 'file size',
  locks: 'file locks',
  memlock: 'locked memory',
  msgqueue: 'msgqueue size',
  nice: 'nice priority',
  nofile: 'open files',
  nproc: 'processes',
  rss: 'resident set',
  rtprio: 'realtime priority',
  rttime: 'realtime timeout',
  sigpending: 'pending signals',
  stack: 'stack size',
};

function hardLimit(name: string, limits: string): number {
  const [, hard] = new RegExp(`^Max ${LIMIT_LINES[name]} +\\S+ +(\\S+)`, 'm').exec(limits) ?? [];
  return hard === undefined || hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
}

function requireUlimits(ulimits: Ulimits): void {
  requireTool('prlimit');
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const canRaise = ((BigInt(`0x${mask}`) >> CAP_SYS_RESOURCE) & 1n) === 1n;
  const own = readFileSync('/proc/self/limits', 'utf8');
  for (const [name, { hard }] of Object.entries(ulimits)) {
    const wanted = hard === -1 ? Number.POSITIVE_INFINITY : hard;
    const most = Math.min(
      canRaise ? Number.POSITIVE_INFINITY : hardLimit(name, own),
      name === 'nofile' ? Number(readFileSync('/proc/sys/fs/nr_open', 'utf8')) : Number.POSITIVE_INFINITY,
    );
    if (wanted <= most) continue;
    throw new HostError(`cannot use --ulimit ${name}: the host allows ${most} at most`, {
      hint: name === 'nofile' ? 'sysctl fs.nr_open; prlimit --nofile' : `prlimit --${name}`,
    });
  }
}

/** Throws HostError, InvalidInputError and NotFoundError: before anything is made. */
export function requireLimits({ limits, ulimits }: Pick<ContainerSpec, 'limits' | 'ulimits'>): void {
  if (limits !== undefined) readLimitFacts(limits);
  if (ulimits !== undefined) requireUlimits(ulimits);
}
