/** Options of create, run and update that limit a container. */

import type { ContainerSpec } from '../spec/container.ts';
import type { LimitOptions } from '../spec/limits.ts';
import type { VerbCommand } from './verb-command.ts';

export function addLimitOptions(command: VerbCommand): VerbCommand {
  return command
    .option('-m, --memory <size>', 'memory of all its processes together: 256m, 1g, …')
    .option('--memory-swap <size>', 'memory and swap together (default: twice the memory; -1: no limit)')
    .option('--cpus <number>', "time of the host's CPUs: 0.5 is half of one")
    .option('--cpu-shares <number>', 'its share where the CPUs are busy (default: 1024)')
    .option('--cpuset-cpus <list>', 'CPUs that it runs on: 0-2,5')
    .option('--pids-limit <number>', 'processes and threads')
    .repeatable('--io-read-bps <device:size>', 'bytes a second read from a disk: /dev/sda:10mb')
    .repeatable('--io-write-bps <device:size>', 'bytes a second written to it')
    .repeatable('--io-read-iops <device:number>', 'reads a second')
    .repeatable('--io-write-iops <device:number>', 'writes a second')
    .repeatable('--ulimit <name=soft[:hard]>', 'of each of its processes: nofile=1024:4096');
}

export function hasLimits(options: LimitOptions): boolean {
  const { memory, memorySwap, cpus, cpuShares, cpusetCpus, pidsLimit } = options;
  const { ioReadBps, ioWriteBps, ioReadIops, ioWriteIops, ulimit } = options;
  const isThere = (value: string | undefined) => value !== undefined;
  return (
    [memory, memorySwap, cpus, cpuShares, cpusetCpus, pidsLimit].some(isThere) ||
    [ioReadBps, ioWriteBps, ioReadIops, ioWriteIops, ulimit].some((words) => words.length > 0)
  );
}

/** What reads them is loaded where there are any. Throws InvalidInputError, and what this host cannot do. */
export async function limitsFrom(options: LimitOptions): Promise<Pick<ContainerSpec, 'limits' | 'ulimits'>> {
  if (!hasLimits(options)) return {};
  const { newLimits } = await import('../spec/limits.ts');
  const made = newLimits(options);
  (await import('../lifecycle/limits.ts')).requireLimits(made);
  return made;
}
