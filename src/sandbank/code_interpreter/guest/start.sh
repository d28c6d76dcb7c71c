# Runs the server for as long as the sandbox lives; what cells do to it, they do to themselves, and the next one finds a new server.
export HOME=/root LANG=C.UTF-8
cd /opt/code-interpreter || exit 1
while :; do
    venv/bin/python -m sandbank_interpreter --python /usr/bin/python3 --home /home/user
    sleep 1
done
