/** State files: JSON with a schema version, replaced whole (temp file + fsync + rename), read through zod. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import type { z } from 'zod/mini';
import { HostError, StateError } from '../errors.ts';

export function writeJson(path: string, value: unknown): void {
  stageJson(path, value)();
}

/** Writes the file under a temporary name, to the disk; the returned function puts it into its place. */
export function stageJson(path: string, value: unknown): () => void {
  const temporary = `${path}.tmp-${process.pid}`;
  const attempt = (action: () => void) => {
    try {
      action();
    } catch (error) {
      throw new HostError(`cannot write ${path}: ${(error as Error).message}`, { cause: error });
    }
  };
  attempt(() => {
    const fd = openSync(temporary, 'w', 0o600);
    try {
      writeSync(fd, `${JSON.stringify(value, null, 2)}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  });
  return () => attempt(() => renameSync(temporary, path));
}

/** Undefined where the file is not there. Throws StateError for a damaged file or one of a newer minict. */
export function readJson<T>(path: string, schema: z.ZodMiniType<T>, what: string): T | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new StateError(`cannot read ${what}: ${(error as Error).message}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new StateError(`cannot read ${what}: ${path} is damaged (not JSON)`, { hint: `look at ${path}` });
  }
  const version = (value as { version?: unknown } | null)?.version;
  if (typeof version === 'number' && version > 1) {
    throw new StateError(`cannot read ${what}: ${path} was written by a newer minict`, { hint: 'update minict' });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new StateError(`cannot read ${what}: ${path} is damaged (${issue?.path.join('.')}: ${issue?.message})`);
  }
  return parsed.data;
}
