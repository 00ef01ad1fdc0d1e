import { defineConfig, mergeConfig } from 'vitest/config';
import base from '../../vitest.config.ts';

/** What cgroup v2, systemd and a real boot have a say in, and fits into the time that run.ts has. */
const CHOSEN = [
  ...['limits', 'update', 'usage', 'freeze', 'signals', 'lifecycle', 'restart-policy', 'units', 'reboot', 'mounted'],
].map((name) => `test/e2e/${name}.test.ts`);

/** By the boot, and whether words choose among them; guest.sh asks for one. */
const PARTS: Readonly<Record<string, string[]>> = {
  main: [...CHOSEN, 'test/vm/systemd.vm.ts'],
  chosen: ['test/{contract,e2e}/*.test.ts', 'test/vm/systemd.vm.ts'],
  'after-reboot': ['test/vm/after-reboot.vm.ts'],
  'after-reset': ['test/vm/after-reset.vm.ts'],
};

const include = PARTS[process.env.MINICT_VM_PART ?? ''] ?? [];

// Without hardware help all takes twenty times as long, or more.
const slow = defineConfig({
  test: {
    reporters: ['verbose'],
    maxWorkers: '100%',
    testTimeout: 900_000,
    hookTimeout: 900_000,
    // Who is too slow for it: its check has six seconds, in which it is found and paused.
    testNamePattern: /^(?!.*a check that was held by a pause)/,
  },
});
const merged = mergeConfig(base, slow);
export default { ...merged, test: { ...merged.test, include } };
