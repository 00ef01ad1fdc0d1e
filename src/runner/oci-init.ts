/**
 * A container's PID 1, by an OCI runtime that a list of system calls becomes, in place of sh and nsenter, each of which takes a
 * millisecond to be loaded.
 */
import {
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { firstLine } from '../errors.ts';
import { type Call, report } from '../host/call-list.ts';
import { AT_FDCWD, addRuntime, callAdder, O_CLOEXEC, O_WRONLY_CLOEXEC } from '../host/runtime-calls.ts';
import type { OciRun } from '../step.ts';
import { endGroup } from './end-group.ts';
import { REPORT_FD, spawnCalls } from './init.ts';
import { type SpawnContext, toolEnv } from './spawn.ts';

function callsOf({ enter, namespaces, argv, sealed }: OciRun, words: readonly string[]): Call[] {
  const calls: Call[] = [];
  const add = callAdder(calls);
  add('dup3', 1, REPORT_FD, O_CLOEXEC);
  add('dup3', add('openat', AT_FDCWD, '/dev/null', O_WRONLY_CLOEXEC, 0), 1, 0);
  add('write', add('openat', AT_FDCWD, enter, O_WRONLY_CLOEXEC, 0), '0', 1);
  const [path = ''] = argv;
  const env = Object.entries(toolEnv()).map(([key, value]) => `${key}=${value}`);
  addRuntime(add, { path, sealedBytes: sealed ? statSync(path).size : undefined, argv: words, env, namespaces });
  const end = calls.length;
  return [...calls.map((call) => ({ ...call, onError: end })), report(REPORT_FD, 0, end)];
}

/** What it says, in its log, as it is or as logfmt; or else elsewhere. */
function causeOf(bundle: string): string {
  const log = readFileSync(`${bundle}/log`, 'utf8');
  const line = firstLine(log === '' ? readFileSync(`${bundle}/said`, 'utf8') : log);
  return / msg="(.*?)"?$/.exec(line)?.[1] ?? line;
}

function keepFilter(bundle: string, kept: string): void {
  if (existsSync(kept)) return;
  try {
    copyFileSync(`${bundle}/state/main/seccomp.bpf`, `${bundle}/filter`);
    renameSync(`${bundle}/filter`, kept);
  } catch {
    // It is made anew each time.
  }
}

/**
 * False where nothing has come of it: this machine or kernel does not take such a program, or refuses a call of it. Throws Error
 * where the runtime failed.
 */
export async function runOci(run: OciRun, { lockFds }: SpawnContext): Promise<boolean> {
  const { enter, bundle, kept, argv } = run;
  rmSync(`${bundle}/state`, { recursive: true, force: true });
  writeFileSync(`${bundle}/log`, '');
  const its = ['--root', `${bundle}/state`, '--log', `${bundle}/log`, 'run', '--detach', '--bundle', bundle, 'main'];
  const said = openSync(`${bundle}/said`, 'w');
  const child = spawnCalls(callsOf(run, [...argv, ...its]), ['ignore', 'pipe', said, ...lockFds]);
  closeSync(said);
  if (child === undefined) return false;
  const refused = await new Response(child.stdout).arrayBuffer();
  const status = await child.exited;
  if (refused.byteLength > 0) return false;
  if (status === 0) {
    if (kept !== undefined) keepFilter(bundle, kept);
    return true;
  }
  // What it forked may be there for a moment, and would keep the group.
  await endGroup(dirname(enter));
  throw new Error(causeOf(bundle) || `${argv[0]} ended with ${status}`);
}
