import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  // The tests run as root: keep root's files out of node_modules.
  cacheDir: join(tmpdir(), `minict-vitest-${process.getuid?.() ?? 0}`),
  test: {
    include: ['test/**/*.test.ts'],
    // Under Bun, Vitest's forks pool fails: it calls child.channel.unref(), which Bun lacks.
    pool: 'threads',
    fsModuleCache: false,
    // Mostly minict is at work, and not the test; with more at a time, what boots a whole system was once too slow.
    maxWorkers: '100%',
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
