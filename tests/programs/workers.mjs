// worker_threads that compute, fetch and share memory.
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { randomBytes } from 'node:crypto';

if (isMainThread) {
    const shared = new SharedArrayBuffer(8);
    const workers = [0, 1, 2].map((number) => new Promise((resolve) => {
        const worker = new Worker(new URL(import.meta.url), {
            workerData: { number, shared, base: process.argv[2] },
        });
        worker.on('message', (message) => console.log(number, message));
        worker.on('exit', resolve);
    }));
    console.log(await Promise.all(workers), new Int32Array(shared)[0]);
    console.log('done');
} else {
    const { number, shared, base } = workerData;
    const count = new Int32Array(shared);
    for (let i = 0; i < 1000; i++) Atomics.add(count, 0, 1);
    let sum = 0;
    for (let i = 0; i < 100000; i++) sum += Math.sqrt(i) * number;
    parentPort.postMessage({ sum, at: Date.now(), random: randomBytes(4).toString('hex') });
    const answer = await fetch(`${base}/stream?n=4&ms=2`);
    parentPort.postMessage(await answer.text());
}
