/** Apart from what reads it, which is all that `exec` loads. */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import type { EnterRecord } from './enter-record.ts';
import type { ContainerPaths } from './paths.ts';

export function writeEnterRecord(paths: ContainerPaths, record: EnterRecord): void {
  const temporary = `${paths.enter}.tmp`;
  writeFileSync(temporary, JSON.stringify(record), { mode: 0o600 });
  renameSync(temporary, paths.enter);
}

export function removeEnterRecord(paths: ContainerPaths): void {
  rmSync(paths.enter, { force: true });
}
