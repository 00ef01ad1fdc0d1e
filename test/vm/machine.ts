/** The guest itself, with no throwaway host around: minict as it is installed there, and what lasts over its reboots. */
import { readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import type { Result } from '../helpers/host.ts';

export function run(...argv: string[]): Result {
  const child = Bun.spawnSync(argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  const status = child.exitCode ?? 128 + (constants.signals[child.signalCode as NodeJS.Signals] ?? 0);
  return { status, stdout: child.stdout.toString(), stderr: child.stderr.toString() };
}

export const minict = (...words: string[]) => run('minict', ...words);

/** A unit's property, as systemd has it. */
export const unitIs = (unit: string, property: string) =>
  run('systemctl', 'show', '--value', '--property', property, unit).stdout.trim();

interface Row {
  readonly name: string;
  readonly state: string;
  readonly address: string;
}

/** By name, of all containers. */
export function rows(): Record<string, Row> {
  const all: Row[] = JSON.parse(minict('ps', '-a', '--format', 'json').stdout);
  return Object.fromEntries(all.map((row) => [row.name, row]));
}

/** A file of the container's own cgroup. */
export function groupFile(name: string, file: string): string {
  const [{ cgroup }] = JSON.parse(minict('inspect', name).stdout);
  return readFileSync(`${cgroup}/../${file}`, 'utf8').trim();
}

const KEPT = '/var/lib/minict-test/rows.json';
export const keepRows = () => writeFileSync(KEPT, JSON.stringify(rows()));
export const keptRows = (): Record<string, Row> => JSON.parse(readFileSync(KEPT, 'utf8'));
