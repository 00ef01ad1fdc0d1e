/**
 * Calls of a list (call-list.ts) that become a program of the host's in namespaces of a container: an OCI runtime. crun and its
 * like make a copy of themselves at their start, unless it is one that nobody can write: that takes a list a tenth of the time. Pure.
 */
import type { Call } from './call-list.ts';

export const AT_FDCWD = -100;
export const AT_EMPTY_PATH = 0x1000;
export const O_CLOEXEC = 0o2000000;
export const O_RDONLY_CLOEXEC = 0o2000000;
export const O_WRONLY_CLOEXEC = 0o2000001;
/** MFD_CLOEXEC and MFD_ALLOW_SEALING of memfd_create(2). */
const SEALABLE = 3;
const F_ADD_SEALS = 1033;
/** F_SEAL_SEAL, _SHRINK, _GROW and _WRITE. */
const SEALS = 15;

export interface RuntimeProgram {
  readonly path: string;
  /** Run from a sealed copy in memory: of the first so many bytes, which are all. */
  readonly sealedBytes: number | undefined;
  readonly argv: readonly string[];
  /** `KEY=VALUE`. */
  readonly env: readonly string[];
  /** Files of the namespaces to be in, that of the mounts last. */
  readonly namespaces: readonly string[];
}

/** Adds a call, for others to take what it returned. */
export type AddCall = (name: Call['name'], ...args: Call['args']) => { readonly of: number };

export function callAdder(calls: Call[]): AddCall {
  return (name, ...args) => ({ of: calls.push({ name, args }) - 1 });
}

export function addRuntime(add: AddCall, { path, sealedBytes, argv, env, namespaces }: RuntimeProgram): void {
  // Seen from where all of them are.
  const files = namespaces.map((file) => add('openat', AT_FDCWD, file, O_RDONLY_CLOEXEC, 0));
  let copy: { readonly of: number } | undefined;
  if (sealedBytes !== undefined) {
    const file = add('openat', AT_FDCWD, path, O_RDONLY_CLOEXEC, 0);
    copy = add('memfd_create', 'minict-runtime', SEALABLE);
    add('sendfile', copy, file, 0, sealedBytes);
    add('fcntl', copy, F_ADD_SEALS, SEALS);
  }
  for (const file of files) add('setns', file, 0);
  if (copy === undefined) add('execveat', AT_FDCWD, path, argv, env, 0);
  else add('execveat', copy, '', argv, env, AT_EMPTY_PATH);
}
