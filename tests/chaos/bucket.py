"""An S3 server in a process of its own: moto's, which knows conditional writes."""

import logging
import sys

import click


@click.command()
@click.option("--port", type=int, default=0, help="Port on loopback; 0 takes a free one.")
def main(*, port: int) -> None:
    """Serve until standard input ends; the port is said on standard output."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or it tells of every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    click.echo(server.get_host_and_port()[1])
    sys.stdin.buffer.read()
    server.stop()


if __name__ == "__main__":
    main()
