"""The broker: storage, coordinators and metadata meet here, with the clock, the gates and the one door for requests."""
