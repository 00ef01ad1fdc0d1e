/** Two throwaway hosts, for what goes from one to the other; each test begins and ends with nothing on either. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { Host } from './host.ts';
import { storeFiles } from './images.ts';

type Minict = (...words: string[]) => string;

export interface TwoHosts {
  readonly here: Host;
  readonly there: Host;
  /** On the one and on the other: what succeeds without a word on stderr; returns its stdout. */
  readonly ok: Minict;
  readonly over: Minict;
}

function mustOn(host: () => Host): Minict {
  return (...words) => {
    const result = host().minict(...words);
    expect(result, words.join(' ')).toMatchObject({ status: 0, stderr: '' });
    return result.stdout;
  };
}

function empty(host: Host): void {
  const names = host.minict('ps', '-aq').stdout.split('\n').filter(Boolean);
  if (names.length > 0) host.minict('rm', '-f', ...names);
  host.minict('volume', 'prune', '-f');
  host.minict('image', 'prune', '-a');
  host.minict('system', 'prune');
  expect(host.minict('volume', 'ls', '-q').stdout).toBe('');
  expect(readdirSync(join(host.root, 'layers'))).toEqual([]);
  expect(storeFiles(host)).toEqual([]);
}

/** The hosts are there before the first test. */
export function useTwoHosts(): TwoHosts {
  const now = {} as { here: Host; there: Host };
  beforeAll(async () => {
    now.here = await Host.create();
    now.there = await Host.create();
  });
  afterEach(() => {
    empty(now.here);
    empty(now.there);
  });
  afterAll(async () => {
    await now.here.destroy();
    await now.there.destroy();
  });
  return Object.assign(now, { ok: mustOn(() => now.here), over: mustOn(() => now.there) });
}
