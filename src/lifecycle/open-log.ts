/** The log of a main command that nobody is attached to, made ready for who writes it. */
import { existsSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { makePipe } from '../host/syscalls.ts';
import { requireTool } from '../host/tool.ts';
import { type LogPipe, logPipe, stampingConfig } from '../process/log-writer.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { DEFAULT_LOG, type LogSpec } from '../spec/log.ts';
import type { ContainerPaths } from '../state/paths.ts';

/** Of who was there before a start; the writer begins a new file by itself. */
function makeRoom(log: string, maxFiles: number): void {
  for (let older = maxFiles - 1; older > 0; older -= 1) {
    const from = older === 1 ? log : `${log}.${older - 1}`;
    if (existsSync(from)) renameSync(from, `${log}.${older}`);
  }
}

/** Of a log that has grown to its bound, whoever wrote it, before a start adds to it. */
export function boundLog({ log }: Pick<ContainerPaths, 'log'>, spec: LogSpec = {}): void {
  const { maxBytes = DEFAULT_LOG.maxBytes, maxFiles = DEFAULT_LOG.maxFiles } = spec;
  if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) >= maxBytes) makeRoom(log, maxFiles);
}

/** To the writer of the log, and nobody else's that an earlier start may have left. */
export function makeLogPipe(paths: ContainerPaths): void {
  rmSync(paths.logPipe, { force: true });
  makePipe(paths.logPipe);
}

/**
 * For a supervisor: what it says itself, before there is a program, goes to the file. Services have made the pipe already. Throws
 * HostError.
 */
export function openLog(
  paths: ContainerPaths,
  { log: spec = {}, services }: Pick<ContainerSpec, 'log' | 'services'>,
): { fd: number; pipe: LogPipe } {
  if (spec.timestamps) {
    requireTool('svlogd');
    mkdirSync(paths.stampedLog, { recursive: true, mode: 0o700 });
    const { path, content } = stampingConfig(paths, spec);
    writeFileSync(path, content, { mode: 0o600 });
  }
  boundLog(paths, spec);
  if (services.length === 0) makeLogPipe(paths);
  return { fd: openSync(paths.log, 'a', 0o600), pipe: logPipe(paths, spec) };
}
