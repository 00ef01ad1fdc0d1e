/**
 * State files: JSON with a schema version, replaced whole (temp file + fsync + rename). Each carries a checksum: what is
 * byte for byte as this minict wrote it needs no second look; anything else is read through its zod schema.
 */
import { closeSync, fsync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { z } from 'zod/mini';
import { DamagedError, HostError, StateError } from '../errors.ts';
import type * as schemas from '../spec/schema.ts';

const VERSION = 1;

type Kind = keyof typeof schemas;
type FileOf<K extends Kind> = z.infer<(typeof schemas)[K]>;

function temporaryOf(path: string): string {
  return `${path}.tmp`;
}

/** Removes what a killed one staged and did not put into its place. */
export function dropStaged(path: string): void {
  rmSync(temporaryOf(path), { force: true });
}

/** Throws HostError. */
export function writeJson(path: string, value: object): void {
  attempt(path, () => {
    const fd = openSync(temporaryOf(path), 'w', 0o600);
    try {
      // In whole, or it throws: write(2) may write less.
      writeFileSync(fd, seal(value));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporaryOf(path), path);
  });
}

/**
 * Writes the file under a temporary name; the disk takes its time for it while this process goes on. What is returned puts
 * the file into its place. The name is always the same, as whoever writes holds a lock: what a killed one left, the next one
 * takes along. Throws HostError.
 */
export async function stageJson(path: string, value: object): Promise<() => void> {
  await attempt(path, async () => {
    const fd = openSync(temporaryOf(path), 'w', 0o600);
    try {
      writeFileSync(fd, seal(value));
      await new Promise<void>((done, fail) => fsync(fd, (error) => (error ? fail(error) : done())));
    } finally {
      closeSync(fd);
    }
  });
  return () => attempt(path, () => renameSync(temporaryOf(path), path));
}

/** Two that the disk has at the same time, as it takes as long for one. What one throws is thrown when both are through. */
export async function together<A, B>(first: Promise<A>, second: B | Promise<B>): Promise<[A, B]> {
  const [one, other] = await Promise.allSettled([first, second]);
  if (one.status === 'rejected') throw one.reason;
  if (other.status === 'rejected') throw other.reason;
  return [one.value, other.value as B];
}

function attempt<T>(path: string, action: () => T): T {
  const refuse = (error: unknown): never => {
    throw new HostError(`cannot write ${path}: ${(error as Error).message}`, { cause: error });
  };
  try {
    const done = action();
    return done instanceof Promise ? (done.catch(refuse) as T) : done;
  } catch (error) {
    return refuse(error);
  }
}

/** The first member is the checksum of all that follows it. */
function seal(value: object): string {
  return withChecksum(JSON.stringify(value, null, 2).slice(1));
}

function withChecksum(rest: string): string {
  return `{\n  "checksum": "${Bun.hash(rest).toString(16)}",${rest}\n`;
}

function isSealed(text: string): boolean {
  return text === withChecksum(text.slice(text.indexOf(',') + 1, -1));
}

/** Undefined where the file is not there. Throws DamagedError, or StateError for one of a newer minict. */
export async function readJson<K extends Kind>(path: string, kind: K, name: string): Promise<FileOf<K> | undefined> {
  const what = `${kind} ${name}`;
  const wayOut = kind === 'container' ? `; minict rm -f ${name} removes the container all the same` : '';
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new StateError(`cannot read ${what}: ${(error as Error).message}`);
  }
  let value: { version?: unknown; checksum?: unknown } | null;
  try {
    value = JSON.parse(text);
  } catch {
    throw new DamagedError(`cannot read ${what}: ${path} is damaged (not JSON)`, { hint: `look at ${path}${wayOut}` });
  }
  const version = value?.version;
  if (typeof version === 'number' && version > VERSION) {
    throw new StateError(`cannot read ${what}: ${path} was written by a newer minict`, { hint: 'update minict' });
  }
  // It belongs to the file and not to the value, which may be written again.
  delete value?.checksum;
  if (version === VERSION && isSealed(text)) return value as FileOf<K>;
  const parsed = (await import('../spec/schema.ts'))[kind].safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = `${issue?.path.join('.')}: ${issue?.message}`;
    throw new DamagedError(`cannot read ${what}: ${path} is damaged (${where})`, { hint: `look at ${path}${wayOut}` });
  }
  return parsed.data as FileOf<K>;
}
