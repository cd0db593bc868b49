// Prints why each place cannot be reached, by its name; empty where it can. in_pod.py for a pod that has Node alone.
const net = require("net");

function reach([host, port, seconds]) {
  return new Promise((done) => {
    const socket = net.connect({ host, port, timeout: seconds * 1000 });
    const end = (why) => done(why) || socket.destroy();
    socket.on("connect", () => end(""));
    socket.on("timeout", () => end(`no answer within ${seconds} s`));
    socket.on("error", (error) => end(error.message));
  });
}

const places = Object.entries(JSON.parse(process.argv[1]));
Promise.all(places.map(async ([name, place]) => [name, await reach(place)])).then((answers) =>
  console.log(JSON.stringify(Object.fromEntries(answers))),
);
