/** Becoming a container's program. This process is in the payload cgroup already. */
import { fileSystemType, silence, tryExecve } from '../host/exec-calls.ts';
import { toolPath } from '../host/tool.ts';
import type { Place } from '../spec/place.ts';

/** f_type of statfs(2), from linux/magic.h. */
const NSFS = 0x6e736673;

/** As a login has it; minict's own is higher. */
export const SOFT_FILE_LIMIT = 1024;

/** A namespace's file that somebody unmounted or removed; nsenter(1) would end with 1, as programs do. */
export function missingNamespace({
  netns,
  utsns,
  mntns,
  pidns,
  ipcns,
  cgroupns,
  timens,
  userns,
  guest,
}: Place): string | undefined {
  const own = guest?.boots ? [] : [utsns, pidns, ipcns, cgroupns, timens, userns, guest?.mntns];
  for (const path of [netns, mntns, ...own]) if (path !== undefined && !isNamespace(path)) return path;
  return undefined;
}

/** Whether a guest that boots has come so far that programs can enter it. */
export function isEntered({ guest, pidns }: Place): boolean {
  return !guest?.boots || (pidns !== undefined && isNamespace(pidns));
}

function isNamespace(path: string): boolean {
  return fileSystemType(path) === NSFS;
}

/**
 * execve: terminal, signals and exit status are the kernel's business from here on. `silent` descriptors, in ascending
 * order, become /dev/null. Does not return.
 */
export function becomeProgram(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  silent: readonly number[],
  prepare: (softFileLimit: number) => void,
): never {
  const tool = toolPath(argv[0] ?? '');
  for (const fd of silent) silence(fd);
  process.umask(0o022);
  prepare(SOFT_FILE_LIMIT);
  tryExecve(tool, argv, env);
  const execve = (process as unknown as { execve(path: string, argv: readonly string[], env: object): never }).execve;
  try {
    return execve.call(process, tool, argv, env);
  } catch (error) {
    // That it is an experiment of Bun's is nothing that a user could mend.
    process.removeAllListeners('warning');
    throw error;
  }
}
