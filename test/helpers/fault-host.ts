/** The host of the fault tests: it has one container of its own, and each test begins and ends without `f1`. */
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { linksSettle } from './expect.ts';
import { Host } from './host.ts';
import type { Snapshot } from './snapshot.ts';

export interface FaultHost {
  readonly host: Host;
  /** The host without `f1`. */
  readonly clean: Snapshot;
}

/** What is returned is filled before each test. */
export function useFaultHost(): FaultHost {
  const now = {} as { host: Host; clean: Snapshot };
  beforeAll(async () => {
    now.host = await Host.create();
    now.host.minict('create', 'keep');
  });
  beforeEach(async () => {
    await linksSettle(now.host);
    now.clean = now.host.snapshot();
  });
  afterEach(() => void now.host.minict('rm', '-f', 'f1'));
  afterAll(() => now.host.destroy());
  return now;
}
