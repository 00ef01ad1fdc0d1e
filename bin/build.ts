/** Builds dist/minict, one self-contained executable. Run by `bun bin/build.ts`. */
import { dirname, resolve } from 'node:path';
import type { BunPlugin } from 'bun';
import { alignToLargePages } from './large-pages.ts';

/** What the verbs of a container's life load, and `network connect`; the others need most of it. */
const CORE = ['src/cli/lifecycle-verbs.ts', 'src/lifecycle/connect.ts'].map((path) => resolve(path));
/** Help needs none of it. */
const WITHOUT_CORE = [resolve('src/cli/commander-program.ts')];

/** Sources that others load by `import()`, but for those that the entry has anyway. */
async function lazySources(): Promise<Set<string>> {
  const transpiler = new Bun.Transpiler({ loader: 'ts' });
  const importsOf = async (path: string) =>
    transpiler.scanImports(await Bun.file(path).text()).flatMap(({ kind, path: to }) => {
      return to.endsWith('.ts') ? { isLazy: kind === 'dynamic-import', to: resolve(dirname(path), to) } : [];
    });
  const lazy = new Set<string>();
  for (const path of new Bun.Glob('src/**/*.ts').scanSync({ absolute: true })) {
    for (const { isLazy, to } of await importsOf(path)) if (isLazy) lazy.add(to);
  }
  const entry = new Set([resolve('bin/minict.ts')]);
  for (const path of entry) {
    for (const { isLazy, to } of await importsOf(path)) if (!isLazy) entry.add(to);
  }
  return lazy.difference(entry);
}

const lazy = await lazySources();

/**
 * Keeps the core in one piece. A bundler makes a piece of its own of what is loaded by the same sources: of the core twenty, as
 * each of those that are loaded later needs another part of it, and a piece costs its loader 0.1 ms. So each of them loads all.
 */
const coreInOnePiece: BunPlugin = {
  name: 'the core in one piece',
  setup(build) {
    build.onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
      if (CORE.includes(path) || !lazy.has(path) || WITHOUT_CORE.includes(path)) return undefined;
      const core = CORE.map((source) => `import ${JSON.stringify(source)};`).join('\n');
      return { contents: `${core}\n${await Bun.file(path).text()}`, loader: 'ts' };
    });
  },
};

const result = await Bun.build({
  entrypoints: ['bin/minict.ts'],
  plugins: [coreInOnePiece],
  target: 'bun',
  format: 'esm',
  minify: true,
  bytecode: true,
  splitting: true,
  // What is small goes along with what is loaded anyway.
  minChunkSize: 16 * 1024,
  compile: {
    outfile: 'dist/minict',
    // A .env or bunfig.toml in the user's folder must not reach a program that runs as root.
    autoloadDotenv: false,
    autoloadBunfig: false,
    // Keeps short runs from starting the JIT compiler and its threads: 1 ms less. Verbs that take long start it (verbs.ts).
    jitPolicy: 100,
  },
});
for (const log of result.logs) console.error(log);
alignToLargePages('dist/minict');
