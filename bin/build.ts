/** Builds dist/minict, one self-contained executable. Run by `bun bin/build.ts`. */
import { alignToLargePages } from './large-pages.ts';

const result = await Bun.build({
  entrypoints: ['bin/minict.ts'],
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
