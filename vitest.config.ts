import { availableParallelism, tmpdir } from 'node:os';
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
    // A third of the time programs wait for each other.
    maxWorkers: Math.ceil(availableParallelism() * 1.5),
    testTimeout: 240_000,
    hookTimeout: 240_000,
  },
});
