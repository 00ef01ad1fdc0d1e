/**
 * Builds dist/minict, one self-contained executable. Run by `bun bin/build.ts`.
 *
 * commander imports node:child_process and node:util at its top, for features that minict does not use (subcommands as
 * executables, colours in help texts). They cost a third of the start-up, so they are loaded where they are used. And it
 * compiles a pattern with all letters of Unicode to see whether an option is variadic, which takes 0.14 ms: ASCII ones will do.
 */
import type { BunPlugin } from 'bun';
import { alignToLargePages } from './large-pages.ts';

const QUICKER: readonly (readonly [from: string, to: string])[] = [
  ["import childProcess from 'node:child_process';\n", ''],
  ["import { stripVTControlCharacters } from 'node:util';\n", ''],
  ['childProcess.spawn(', "process.getBuiltinModule('node:child_process').spawn("],
  ['/\\p{ID_Continue}\\.\\.\\.[>\\]]$/u', '/\\w\\.\\.\\.[>\\]]$/'],
  ['stripVTControlCharacters(str)', "process.getBuiltinModule('node:util').stripVTControlCharacters(str)"],
];

const FILES = /node_modules\/commander\/lib\/(command|help|option)\.js$/;

const quickCommander: BunPlugin = {
  name: 'a commander that starts quickly',
  setup(build) {
    build.onLoad({ filter: FILES }, async ({ path }) => {
      let contents = await Bun.file(path).text();
      for (const [from, to] of QUICKER) contents = contents.replaceAll(from, to);
      if (/\bchildProcess\b|'node:(child_process|util)';|\\p\{/.test(contents)) {
        throw new Error(`${path}: commander has changed; look at bin/build.ts`);
      }
      return { contents, loader: 'js' };
    });
  },
};

const result = await Bun.build({
  entrypoints: ['bin/minict.ts'],
  plugins: [quickCommander],
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
    // Keeps short runs from starting the JIT compiler and its threads: 1 ms less. Verbs that take long start it (program.ts).
    jitPolicy: 100,
  },
});
for (const log of result.logs) console.error(log);
alignToLargePages('dist/minict');
