// Random users on a random network, against the simulated server. DOORMAN_MODEL_RUNS says how many (2,000), and
// DOORMAN_MODEL_SEED where to begin, as a failure prints it.
import fc from 'fast-check';
import { test } from 'node:test';
import { plan } from './plan.ts';
import { play } from './world.ts';

const numRuns = +(process.env.DOORMAN_MODEL_RUNS ?? 2000);
const seed = process.env.DOORMAN_MODEL_SEED ? +process.env.DOORMAN_MODEL_SEED : undefined;

test(`every client ends with the server's state, nothing lost, nothing doubled, every rejection told once (${numRuns} runs)`, () => {
  fc.assert(fc.property(plan, play), { numRuns, ...(seed != null && { seed }), endOnFailure: !!process.env.DOORMAN_MODEL_QUICK });
});
