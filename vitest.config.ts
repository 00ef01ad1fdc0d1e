import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Those with a fault at each of many points take minutes, whatever their size: the last of them would run alone. */
class LongOnesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) => /(kill|fault)[^/]*\.test\.ts$/.test(moduleId);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

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
    sequence: { sequencer: LongOnesFirst },
  },
});
