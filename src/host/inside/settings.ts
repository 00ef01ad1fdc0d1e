/** Settings of /proc/sys/net, as a process inside of the namespace sees them. */
import { type Inside, readInside } from './run.ts';

/** By name as sysctl(8) has it, with slashes; what the kernel does not have is not there. */
export type Settings = ReadonlyMap<string, string>;

export async function readSettings(inside: Inside, names: readonly string[]): Promise<Settings> {
  const paths = names.map((name) => `/proc/sys/${name}`);
  const output = await readInside(inside, ['grep', '-s', '-H', '', ...paths]);
  const lines = output?.stdout.split('\n').filter(Boolean) ?? [];
  return new Map(lines.map((line) => [line.slice('/proc/sys/'.length, line.indexOf(':')), afterColon(line)]));
}

const afterColon = (line: string) => line.slice(line.indexOf(':') + 1);
