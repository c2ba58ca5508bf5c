"""MQTT against a real Mosquitto."""
