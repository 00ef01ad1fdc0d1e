/** There while an update changes the limits of a container that is up: those of before and of after. In the run dir. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Limits } from '../spec/limits.ts';

export type UpdateMark = readonly [before: Limits, after: Limits];

export function writeUpdateMark(path: string, mark: UpdateMark): void {
  writeFileSync(`${path}.tmp`, JSON.stringify(mark), { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}

export function readUpdateMark(path: string): UpdateMark {
  return JSON.parse(readFileSync(path, 'utf8')) as UpdateMark;
}
