// Calls of the openai package and of fetch: streams, tools, reasoning, gzip, errors, cuts.
const { OpenAI } = require('openai');

async function main() {
    const base = process.argv[2];
    const messages = [{ role: 'user', content: 'hello' }];
    const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'sk-test', maxRetries: 0 });
    const parameters = { type: 'object', properties: {} };
    const tools = [{ type: 'function', function: { name: 'weather', parameters } }];
    for (const [model, more] of [['m', {}], ['m-reason', {}], ['m-gzip', {}], ['m', { tools }],
        ['m-error', {}], ['m-cut', {}]]) {
        try {
            const request = { model, messages, stream: true, ...more };
            const stream = await client.chat.completions.create(request);
            for await (const chunk of stream) console.log(chunk.choices[0].delta.content);
            const events = await client.responses.create({ model, input: 'x', stream: true });
            for await (const event of events) console.log(event.type);
        } catch (e) {
            console.log(e.constructor.name);
        }
    }
    const headers = { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' };
    for (const model of ['m-gzip', 'm-brotli']) {
        const body = JSON.stringify({ model, messages, max_tokens: 9, stream: true });
        const response = await fetch(`${base}/v1/messages`, { method: 'POST', body, headers });
        for await (const bytes of response.body) process.stdout.write(bytes);
    }
    console.log('done');
}
main();
