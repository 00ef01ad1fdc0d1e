/** What every refusal has to look like. */
import { expect } from 'vitest';
import type { Host, Result } from './host.ts';

/** Exit status 125, nothing on stdout, one line on stderr and perhaps a hint. */
export function expectRefused(result: Result, message: RegExp): void {
  expect(result).toMatchObject({ status: 125, stdout: '' });
  expect(result.stderr).toMatch(/^minict: [^\n]+\n(hint: [^\n]+\n)?$/);
  expect(result.stderr).not.toContain('internal error');
  expect(result.stderr).toMatch(message);
}

/** The same of a command in `host`, which leaves no trace in the kernel or among the containers. */
export function expectRefusedThere(host: Host, words: readonly string[], message: RegExp): void {
  const before = host.snapshot();
  expectRefused(host.minict(...words), message);
  expect(host.snapshot()).toEqual(before);
}

/** Made, without a word but its name. */
export function expectCreated(host: Host, ...words: string[]): void {
  expect(host.minict('create', ...words)).toEqual({ status: 0, stdout: `${words[0]}\n`, stderr: '' });
}
