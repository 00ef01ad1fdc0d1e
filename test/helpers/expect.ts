/** What every refusal has to look like. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Host, Result } from './host.ts';
import { readIp } from './links.ts';

/** Exit status 125, nothing on stdout, one line on stderr and perhaps a hint. */
export function expectRefused(result: Result, message: RegExp): void {
  expect(result).toMatchObject({ status: 125, stdout: '' });
  expect(result.stderr).toMatch(/^minict: [^\n]+\n(hint: [^\n]+\n)?$/);
  expect(result.stderr).not.toContain('internal error');
  expect(result.stderr).toMatch(message);
}

/** Waits until the kernel's worker has taken away the interfaces of containers that are no more. */
export async function linksSettle(host: Host): Promise<void> {
  const owners = () =>
    readIp(host, 'link').flatMap(({ ifalias }) => /^minict:[^:]+:([^:]+):eth0$/.exec(ifalias ?? '')?.[1] ?? []);
  const gone = () => owners().filter((name) => !existsSync(join(host.root, 'containers', name)));
  for (let tries = 0; tries < 500 && gone().length > 0; tries += 1) await Bun.sleep(10);
  expect(gone()).toEqual([]);
}

/** The same of a command in `host`, which leaves no trace in the kernel or among the containers. */
export async function expectRefusedThere(host: Host, words: readonly string[], message: RegExp): Promise<void> {
  await linksSettle(host);
  const before = host.snapshot();
  expectRefused(host.minict(...words), message);
  expect(host.snapshot()).toEqual(before);
}

/** Made, without a word but its name. */
export function expectCreated(host: Host, ...words: string[]): void {
  expect(host.minict('create', ...words)).toEqual({ status: 0, stdout: `${words[0]}\n`, stderr: '' });
}
