/**
 * What services write: through the pipe of the log, which this process reads while they are started. Then whoever still has it
 * open, a daemon, is read by the writer of the main command, or by one of its own; and so is everybody where this process is
 * killed meanwhile. Where there is no daemon nobody is left.
 */
import { appendFileSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs';
import { logPipe, successor } from '../process/log-writer.ts';
import { DEFAULT_LOG, type LogSpec } from '../spec/log.ts';
import type { ContainerPaths } from '../state/paths.ts';
import { boundLog, makeLogPipe } from './open-log.ts';

const BLOCK_BYTES = 64 * 1024;

/** As its writer does, it drops what a full disk does not take. */
function append(paths: ContainerPaths, spec: LogSpec, bytes: Buffer): void {
  const maxBytes = spec.maxBytes ?? DEFAULT_LOG.maxBytes;
  for (let rest = bytes; rest.length > 0; ) {
    boundLog(paths, spec);
    const room = maxBytes - (statSync(paths.log, { throwIfNoEntry: false })?.size ?? 0);
    try {
      appendFileSync(paths.log, rest.subarray(0, room), { mode: 0o600 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
    rest = rest.subarray(room);
  }
}

export class ServiceLog {
  /** Where services write. */
  readonly fd: number;
  private readonly reader: number;
  private readonly successor: Bun.Subprocess<'pipe', 'ignore', 'ignore'>;
  private readonly block = Buffer.alloc(BLOCK_BYTES);
  private readonly paths: ContainerPaths;
  private readonly spec: LogSpec;

  /** `enterSupervisor` as cgroup/cgroup.ts has it. */
  constructor(paths: ContainerPaths, spec: LogSpec = {}, enterSupervisor: string) {
    this.paths = paths;
    this.spec = spec;
    makeLogPipe(paths);
    this.reader = openSync(paths.logPipe, constants.O_RDONLY | constants.O_NONBLOCK);
    this.fd = openSync(paths.logPipe, 'w');
    // It would have O_NONBLOCK along with this process's own.
    const waiting = openSync(paths.logPipe, 'r');
    const argv = successor(logPipe(paths, spec), enterSupervisor);
    const stdio: ['pipe', 'ignore', 'ignore', number] = ['pipe', 'ignore', 'ignore', waiting];
    this.successor = Bun.spawn([...argv], { stdio, detached: true });
    closeSync(waiting);
  }

  /** Takes what has been written by now; returns the last `bytes` of it. */
  drain(bytes: number): Buffer {
    let end: Buffer = Buffer.alloc(0);
    for (let part = this.read(); part !== undefined && part.length > 0; part = this.read()) {
      append(this.paths, this.spec, part);
      end = Buffer.concat([end, part]).subarray(-bytes);
    }
    return end;
  }

  /** Services are started; `isRead` says whether the writer of a main command reads the pipe. */
  async close(isRead: boolean): Promise<void> {
    closeSync(this.fd);
    if (isRead || !this.isInUse()) {
      this.successor.kill('SIGKILL');
      await this.successor.exited;
    } else {
      this.successor.stdin.end();
      this.successor.unref();
    }
    closeSync(this.reader);
  }

  /** Whether somebody may still write. What is in the pipe by now is taken. */
  private isInUse(): boolean {
    for (let part = this.read(); part !== undefined; part = this.read()) {
      if (part.length === 0) return true;
      append(this.paths, this.spec, part);
    }
    return false;
  }

  /** Empty where there is nothing for now, undefined where nobody has it open for writing. */
  private read(): Buffer | undefined {
    try {
      const size = readSync(this.reader, this.block, 0, this.block.length, null);
      return size === 0 ? undefined : this.block.subarray(0, size);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return Buffer.alloc(0);
      throw error;
    }
  }
}
